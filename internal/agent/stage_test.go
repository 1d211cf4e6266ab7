package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestStages: a step that hangs is named before the host gives up.
func TestStages(t *testing.T) {
	var s stages
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	hang := make(chan struct{})
	defer close(hang)
	err := s.withAnswer(ctx, func() error {
		s.enter("CPU %d", 1)()
		leave := s.enter("module %s", "x.ko")
		<-hang
		leave()
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "module x.ko (for ") || strings.Contains(err.Error(), "CPU 1") {
		t.Fatalf("a step that hangs: %v", err)
	}
	var quick stages
	want := errors.New("its own")
	for _, ctx := range []context.Context{context.Background(), ctx} {
		if err := quick.withAnswer(ctx, func() error { return want }); ctx.Err() == nil && err != want {
			t.Fatalf("what has ended: %v", err)
		}
	}
	if quick.String() != "nothing" {
		t.Fatalf("%v", &quick)
	}
}
