// Package pagetest drives the simulator's page in Chromium, as a person with a
// keyboard would.
package pagetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The keys that have no character.
const (
	Enter = "\r"
	Esc   = "\u001b"
	Tab   = "\t"
	Up    = "\u0304"
	Down  = "\u0301"
)

// patience is how long a tab waits for what it expects to see.
const patience = 60 * time.Second

// Browser starts Chromium with a fresh profile; it ends with the test. Without
// Chromium the test is skipped, unless OPSBOT_TEST_REQUIRE says that nothing
// may be.
func Browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("OPSBOT_TEST_REQUIRE") != "" {
			t.Fatal("chromium is missing: apt-get install chromium")
		}
		t.Skip("chromium is missing: the page is not tested in a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(func() { stop(); cancel() })
	return ctx
}

// A Page is a page open in a tab. Keys go to whatever has the focus.
type Page struct {
	t   *testing.T
	ctx context.Context
}

// Visit opens a page in a tab of its own; parent is a browser, or Context of
// another page of it. Whatever the page throws or logs as an error fails the
// test.
func Visit(t *testing.T, parent context.Context, url string, width, height int64) *Page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	p := &Page{t, ctx}
	p.Do(chromedp.EmulateViewport(width, height))
	messages := chromedp.Console(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleException || m.Type == "error" {
				t.Errorf("the page says: %s (%s:%d)", m.Text, m.URL, m.Line)
			}
		}
	}()
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("close the tab: %v", err)
		}
		cancel()
		<-done
	})
	p.Do(chromedp.Navigate(url))
	p.Until("the page is ready", `document.querySelector("#app") && performance.getEntriesByType("resource").some(r => r.name.includes("/ui/app?"))`)
	return p
}

// Context is the tab's own, for further tabs of the same browser.
func (p *Page) Context() context.Context { return p.ctx }

// Do runs steps in the tab.
func (p *Page) Do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// Eval returns what a JavaScript expression gives, as text.
func (p *Page) Eval(js string) string {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](js))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return fmt.Sprint(v)
}

// Until polls for a JavaScript condition. When it does not come, the failure
// shows the page's text, and a screenshot is kept.
func (p *Page) Until(what, js string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for ; p.Eval("Boolean("+js+")") != "true"; <-poll.C {
		if time.Now().After(deadline) {
			p.Shot("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
			p.t.Fatalf("waited in vain until %s; the page says:\n%s", what, p.Eval("document.body.innerText"))
		}
	}
}

// Shows waits until a selected element contains the text.
func (p *Page) Shows(selector, text string) {
	p.t.Helper()
	p.Until(fmt.Sprintf("%s shows %q", selector, text), fmt.Sprintf("[...document.querySelectorAll(%q)].some(e => e.innerText.includes(%q))", selector, text))
}

// Lacks waits until no selected element contains the text.
func (p *Page) Lacks(selector, text string) {
	p.t.Helper()
	p.Until(fmt.Sprintf("%s lacks %q", selector, text), fmt.Sprintf("![...document.querySelectorAll(%q)].some(e => e.innerText.includes(%q))", selector, text))
}

// Keys types.
func (p *Page) Keys(keys string) {
	p.t.Helper()
	p.Do(chromedp.KeyEvent(keys))
}

// Press focuses a button, link or summary by its words, as Tab would, and
// presses Enter.
func (p *Page) Press(inside, words string) {
	p.t.Helper()
	find := fmt.Sprintf("[...document.querySelectorAll(%q)].filter(e => e.checkVisibility()).find(e => (e.getAttribute('aria-label') || e.innerText).replace(/\\s+/g, ' ').trim() === %q)",
		inside+" button, "+inside+" a, "+inside+" summary", words)
	p.Until("there is a button "+words, find)
	p.Eval(find + ".focus()")
	p.Keys(Enter)
}

// Shot saves what the tab looks like in the folder that
// OPSBOT_TEST_SCREENSHOTS names; without one it does nothing.
func (p *Page) Shot(name string) {
	p.t.Helper()
	dir := os.Getenv("OPSBOT_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "page-"+name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}
