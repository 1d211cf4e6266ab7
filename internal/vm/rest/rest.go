// Package rest speaks to the HTTP API that Cloud Hypervisor and Firecracker
// serve on a Unix socket. The server is not trusted: answers are bounded in
// size and time. It owns one client's connections.
package rest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds an answer.
const maxAnswer = 1 << 20

// callWait bounds a request: the longest writes a snapshot.
const callWait = 60 * time.Second

// Client is a client of one socket.
type Client struct {
	http *http.Client
	base string
}

// New makes a client of the socket at path, for an API below base ("/api/v1").
func New(path, base string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{
		http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}, Timeout: callWait},
		base: "http://localhost" + base,
	}
}

// Do makes one request. body and result may be nil.
func (c *Client) Do(method, path string, body, result any) error {
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, c.base+path, in)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, printable(raw))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(raw, result); err != nil {
		return fmt.Errorf("%s %s: malformed answer: %w", method, path, err)
	}
	return nil
}

// Await waits until the server accepts connections.
func (c *Client) Await(path string, limit time.Duration, ended <-chan struct{}) error {
	for deadline := time.Now().Add(limit); ; {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the API socket %s does not answer within %v: %w", path, limit, err)
		}
		select {
		case <-ended:
			return fmt.Errorf("the hypervisor has ended before it served its API")
		case <-time.After(time.Millisecond):
		}
	}
}

// DialVsock reaches a port of the guest through the socket of a hybrid vsock:
// "CONNECT port\n" is answered "OK number\n".
func DialVsock(path string, port uint32) (net.Conn, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %d\n", port); err != nil {
		conn.Close()
		return nil, err
	}
	// One byte at a time: what follows the line is the guest's.
	line, err := bufio.NewReaderSize(oneByte{conn}, 16).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "OK ") || len(line) > 32 {
		conn.Close()
		return nil, fmt.Errorf("vsock port %d: %w", port, unix.ECONNREFUSED)
	}
	return conn, nil
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, string(b[:min(len(b), 512)]))
}
