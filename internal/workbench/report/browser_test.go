//go:build browser

package report

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The page in a real browser: Debian's chromium, headless, driven over its
// debugging pipe. SHOTS=DIR keeps pictures of it.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	page := filepath.Join(t.TempDir(), "index.html")
	if err := os.WriteFile(page, []byte(HTML(sampleResults())), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		width  int
		scheme string
	}{{"phone-dark", 360, "dark"}, {"phone-light", 390, "light"}, {"desk-light", 1280, "light"}, {"desk-dark", 1280, "dark"}} {
		t.Run(c.name, func(t *testing.T) {
			p := b.open(t, page, c.width, c.scheme)
			p.checkLayout(t, c.width)
			p.checkScheme(t, c.scheme)
			p.checkSorting(t)
			p.shot(t, c.name)
			if len(b.requests) != 1 {
				t.Errorf("the page makes requests: %q", b.requests)
			}
			if len(b.complaints) > 0 {
				t.Errorf("the browser complains: %q", b.complaints)
			}
		})
	}
}

// checkLayout: nothing is wider than the screen but what scrolls by itself, the
// text of plots stays readable, and every plot is visible.
func (p *tab) checkLayout(t *testing.T, width int) {
	if w := p.number(t, "document.documentElement.scrollWidth"); w > float64(width) {
		t.Errorf("the page is %v wide on a screen of %d", w, width)
	}
	if n := p.number(t, "document.querySelectorAll('svg.plot').length"); n != 5 { // overview and four rows
		t.Errorf("%v plots", n)
	}
	if h := p.number(t, "Math.min(...[...document.querySelectorAll('svg.plot text')].map(e => e.getBoundingClientRect().height))"); h < 9 {
		t.Errorf("text of %v pixels in a plot", h)
	}
	overlap := `(() => {
		let bad = 0;
		for (const svg of document.querySelectorAll('svg.plot')) {
			const box = svg.getBoundingClientRect();
			for (const e of svg.querySelectorAll('text')) {
				const r = e.getBoundingClientRect();
				if (r.left < box.left - 1 || r.right > box.right + 1) bad++;
			}
		}
		return bad;
	})()`
	if n := p.number(t, overlap); n != 0 {
		t.Errorf("%v labels stick out of their plots", n)
	}
}

// checkScheme: the page follows the system's scheme, and the button turns it.
func (p *tab) checkScheme(t *testing.T, scheme string) {
	const brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0,3).reduce((a,b)=>a+Number(b),0)/3"
	before := p.number(t, brightness)
	if dark := before < 128; dark != (scheme == "dark") {
		t.Errorf("scheme %s: background of brightness %v", scheme, before)
	}
	after := p.number(t, "(document.getElementById('theme').click(), "+brightness+")")
	if (before < 128) == (after < 128) {
		t.Errorf("the button does not change the scheme: %v, then %v", before, after)
	}
	p.number(t, "(document.getElementById('theme').click(), 0)")
}

// checkSorting: each column of the long table sorts up, then down, by value.
func (p *tab) checkSorting(t *testing.T) {
	const state = `(() => {
		const table = document.getElementById('all');
		const out = [];
		[...table.tHead.rows[0].cells].forEach((head, i) => {
			const keys = () => [...table.tBodies[0].rows].map(r => r.cells[i]).filter(c => c.textContent !== '')
				.map(c => c.dataset.v !== undefined ? Number(c.dataset.v) : c.textContent);
			const sorted = (k, sign) => k.every((v, j) => j === 0 || (typeof v === 'number' ? sign * (v - k[j-1]) >= 0 : sign * v.localeCompare(k[j-1]) >= 0));
			head.click();
			if (!sorted(keys(), 1) || head.getAttribute('aria-sort') !== 'ascending') out.push(head.textContent + ' up');
			head.click();
			if (!sorted(keys(), -1) || head.getAttribute('aria-sort') !== 'descending') out.push(head.textContent + ' down');
		});
		return JSON.stringify(out);
	})()`
	var bad []string
	if err := json.Unmarshal([]byte(p.text(t, state)), &bad); err != nil || len(bad) > 0 {
		t.Errorf("columns that do not sort: %q, %v", bad, err)
	}
}

func (p *tab) shot(t *testing.T, name string) {
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data string }
	p.call(t, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "format": "png"}, &r)
	data, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
