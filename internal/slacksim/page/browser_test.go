package page_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/slack-go/slack"

	"opsbot/internal/slacksim/page"
)

// A tab is a page open in Chromium. Keys go to whatever has the focus, as a
// person's would.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// chromium starts a browser with a fresh profile. Without one the test is
// skipped, unless OPSBOT_TEST_REQUIRE says that nothing may be.
func chromium(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("no browser in short mode")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("OPSBOT_TEST_REQUIRE") != "" {
			t.Fatal("chromium is missing: apt-get install chromium")
		}
		t.Skip("chromium is missing: the page is not tested in a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(func() { stop(); cancel() })
	return ctx
}

// visit opens a page in a tab of its own; parent is a browser or another tab.
// Whatever the page throws or logs as an error fails the test.
func visit(t *testing.T, parent context.Context, url string, width, height int64) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	b := &tab{t, ctx}
	b.do(chromedp.EmulateViewport(width, height))
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
	b.do(chromedp.Navigate(url))
	b.until("the page is ready", `document.querySelector("#app") && performance.getEntriesByType("resource").some(r => r.name.includes("/ui/app?"))`)
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what a JavaScript expression gives, as text.
func (b *tab) eval(js string) string {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[any](js))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return fmt.Sprint(v)
}

// until polls for a JavaScript condition.
func (b *tab) until(what, js string) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); b.eval("Boolean("+js+")") != "true"; {
		if time.Now().After(deadline) {
			b.shot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
			b.t.Fatalf("waited in vain until %s; the page says:\n%s", what, b.eval("document.body.innerText"))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// shows waits until the selected element contains the text.
func (b *tab) shows(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s shows %q", selector, text), fmt.Sprintf("[...document.querySelectorAll(%q)].some(e => e.innerText.includes(%q))", selector, text))
}

// lacks waits until no selected element contains the text.
func (b *tab) lacks(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s lacks %q", selector, text), fmt.Sprintf("![...document.querySelectorAll(%q)].some(e => e.innerText.includes(%q))", selector, text))
}

// The keys that have no character.
const (
	enter = "\r"
	esc   = "\u001b"
	tabs  = "\t"
	up    = "\u0304"
	down  = "\u0301"
)

func (b *tab) keys(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// press focuses a button by its words, as Tab would, and presses Enter.
func (b *tab) press(inside, words string) {
	b.t.Helper()
	find := fmt.Sprintf("[...document.querySelectorAll(%q)].filter(e => e.checkVisibility()).find(e => (e.getAttribute('aria-label') || e.innerText).replace(/\\s+/g, ' ').trim() === %q)", inside+" button, "+inside+" a, "+inside+" summary", words)
	b.until("there is a button "+words, find)
	b.eval(find + ".focus()")
	b.keys(enter)
}

// room goes to a channel by its link.
func (b *tab) room(channel string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("document.querySelector('#room-%s a').focus()", channel))
	b.keys(enter)
}

// shot saves what the tab looks like where OPSBOT_TEST_SCREENSHOTS says.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("OPSBOT_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "page-"+name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

const (
	composer = "document.querySelector('#chat textarea')"
	field    = "document.querySelector('dialog.modal input')"
)

// One person runs a runbook by keyboard alone, another one helps in a tab of
// their own, and nothing that is half typed is lost while cards change.
func TestStory(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	panel := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><html lang="en"><meta name="color-scheme" content="light dark"><title>Patient</title><p>Hit rate 3.1 %</html>`)
	})
	w := open(t, page.Options{Panel: panel, PanelTitle: "Patient"})
	w.app(t)
	if _, err := w.sim.As("ben").Say("#ops", "The hit rate fell off a cliff."); err != nil {
		t.Fatal(err)
	}
	ann := visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 800)
	ben := visit(t, ann.ctx, w.url+at(w.ben.ID, w.general.ID), 1280, 800)

	// The command is found by its first letters and completed by Tab.
	ann.until("the composer has the focus", composer+" === document.activeElement")
	ann.keys("/ru")
	ann.shows(".suggest", "List, show and run runbooks")
	ann.shot("commands")
	ann.keys(tabs)
	ann.until("the command is completed", composer+".value === '/runbook '")
	ann.keys("cache-fix" + enter)
	ann.shows("#chat .card", "Is Redis well?")
	ann.shows("#chat .card", "Review wanted")
	ann.until("the composer is empty", composer+".value === ''")
	ann.shot("cards")
	ben.shows("#toasts", "Review wanted: Clear our keys")
	ben.shows("#side .unread", "ops")

	// A live edit leaves the composer, its caret and the focus alone.
	run, ask := w.cards(t)
	ann.keys("half a sen")
	w.edit(t, run, "2 of 1 reviews")
	ann.shows("#chat .card", "2 of 1 reviews")
	ann.until("the text is still there", composer+".value === 'half a sen' && document.activeElement === "+composer+" && "+composer+".selectionStart === 10")

	// A draft survives a look at another channel.
	ann.room(w.general.ID)
	ann.shows("#chat h1", "general")
	ann.until("the other composer is empty", composer+".value === ''")
	ann.room(w.ops.ID)
	ann.until("the draft is back", composer+".value === 'half a sen'")
	ann.eval(composer + ".select()")
	ann.keys("\b" + up)
	ann.until("what was sent comes back", composer+".value === '/runbook cache-fix'")
	ann.keys(down)
	ann.until("and goes again", composer+".value === ''")

	// A name is completed after its @; Shift+Enter starts a line.
	ann.keys("hello @be")
	ann.shows("#chat .suggest", "Ben Okafor")
	ann.keys(tabs + "and")
	ann.do(chromedp.KeyEvent(enter, chromedp.KeyModifiers(chromedp.ModifierShift)))
	ann.keys("all" + enter)
	ann.until("both lines are said", "[...document.querySelectorAll('#chat .text')].some(e => e.innerText === 'hello @Ben Okafor and\\nall')")
	ben.shows("#toasts", "hello @Ben Okafor and all")

	// The form: opened by a button, kept while things change, with errors at
	// the field, closed by a right answer.
	ann.press("#m-"+domID(w.ops.ID, ask), "Approve")
	ann.until("the form is open and its field has the focus", field+" && document.activeElement === "+field)
	ann.keys("dem")
	ann.shot("modal")
	w.edit(t, run, "3 of 1 reviews")
	w.post(t, "#ops", "something else happened", "")
	ann.shows("#chat", "something else happened")
	ann.until("the half-typed answer is still there", field+".value === 'dem' && document.activeElement === "+field)
	ann.keys("x" + enter)
	ann.shows("dialog.modal .field-error", "That is not demo.")
	ann.until("the wrong answer is there to be corrected", field+".value === 'demx' && document.activeElement === "+field+" && "+field+".getAttribute('aria-invalid') === 'true'")
	ann.shot("error")
	ann.keys("\bo" + tabs + "because it is sick" + tabs + " " + tabs + tabs + tabs)
	ann.until("Tab stays in the form", "document.activeElement.closest('dialog.modal')")
	ann.eval(field + ".focus()")
	ann.keys(enter)
	ann.until("the form is closed", "!document.querySelector('dialog.modal')")
	ann.shows("#chat", "confirmed: because it is sick deploy")
	ann.until("the focus is back at the button", "document.activeElement.innerText === 'Approve'")

	// Escape closes a form, too.
	ann.keys(enter)
	ann.until("the form is open again and empty", field+" && "+field+".value === ''")
	ann.keys(esc)
	ann.until("the form is closed", "!document.querySelector('dialog.modal')")
	until(t, "the simulator knows", func() bool { return len(w.sim.As("ann").Views()) == 0 })

	// A button that the app does not answer for.
	ann.press("#m-"+domID(w.ops.ID, run), "Details")
	ann.until("the button is busy", "document.querySelector('#chat .btn.busy')")
	w.sim.Advance(4 * time.Second)
	ann.until("the button shows the failure", "document.querySelector('#chat .warn')?.getAttribute('aria-label').includes('three seconds')")

	// A confirm dialog asks first.
	ann.press("#m-"+domID(w.ops.ID, run), "Stop")
	ann.shows(".confirm-dialog", "nothing is undone")
	ann.shot("confirm")
	ann.keys(esc)
	ann.until("the dialog is gone and the focus back", "!document.querySelector('.confirm-dialog') && document.activeElement.innerText === 'Stop'")
	ann.keys(enter)
	ann.until("the dialog is open", "document.querySelector('.confirm-dialog[open]')")
	ann.keys(enter)
	ann.shows("#chat", "R12 was stopped by @Ann Lee")
	ann.until("the focus stays near the button that is gone", "document.activeElement.closest('.msg') || document.activeElement.matches('textarea')")

	// Threads: a reply, and no commands.
	ben.room(w.ops.ID)
	ben.shows("#chat .replies", "2 replies")
	ben.eval("document.querySelector('#chat .replies').focus()")
	ben.keys(enter)
	ben.shows("#thread", "Output of step 1")
	ben.until("the thread's composer has the focus", "document.activeElement.matches('#thread textarea')")
	ben.keys("on it" + enter)
	ben.shows("#thread", "on it")
	ann.shows("#chat .replies", "3 replies")
	ben.keys("/runbook" + enter)
	ben.shows("#thread .error", "not supported in threads")
	ben.shot("thread")
	ben.keys(esc + esc)
	ben.until("the thread is closed", "!document.querySelector('#thread')")

	// An ephemeral answer, and its dismissal.
	ann.eval(composer + ".focus()")
	ann.keys("/runbook" + enter)
	ann.shows("#chat .ephemeral", "Only visible to you")
	ben.lacks("#chat", "Only visible to you")
	ann.press("#chat .ephemeral", "Dismiss")
	ann.lacks("#chat", "Only visible to you")

	// Reactions by keyboard: to a message by the arrows, to its menu by Tab.
	ann.eval("document.querySelector('#chat .messages').focus()")
	ann.keys(up)
	ann.until("a message has the focus", "document.activeElement.matches('.msg')")
	ann.keys(tabs + tabs + tabs)
	ann.press("#chat .msg:focus-within .tools", "Add a reaction")
	ann.press("#chat .msg:focus-within .tools", "eyes")
	ann.shows("#chat .reaction", "1")

	// Nothing is served from elsewhere, and the panel is there.
	ann.until("the panel is shown", "document.querySelector('#panel iframe').checkVisibility()")
	if got := ann.eval(`performance.getEntriesByType("resource").filter(r => !r.name.startsWith(location.origin)).length`); got != "0" {
		t.Errorf("%s resources come from elsewhere", got)
	}
}

// At a phone's width nothing sticks out, and everything is a sheet away.
func TestPhone(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	panel := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><html lang="en"><meta name="color-scheme" content="light dark"><title>Patient</title><p>Hit rate 3.1 %</html>`)
	})
	w := open(t, page.Options{Panel: panel, PanelTitle: "Patient"})
	w.app(t)
	ann := visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 390, 844)
	fits := func(where string) {
		t.Helper()
		if got := ann.eval("document.documentElement.scrollWidth"); got != "390" {
			t.Errorf("%s is %s pixels wide, want 390", where, got)
		}
		if wide := ann.eval(`[...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.closest(".sr, #side, .skip") && !e.matches(".sr, .skip") && e.getBoundingClientRect().right > 391 && getComputedStyle(e.parentElement).overflowX === "visible").map(e => e.outerHTML.slice(0, 80)).join("\n")`); wide != "" {
			t.Errorf("%s: this sticks out:\n%s", where, wide)
		}
	}
	ann.eval(composer + ".focus()")
	ann.keys("/runbook cache-fix" + enter)
	ann.shows("#chat .card", "Review wanted")
	fits("the channel")
	ann.shot("phone")

	ann.press("#chat", "Menu: channels and people")
	ann.until("the drawer is open with the focus in it", "document.querySelector('#side').contains(document.activeElement)")
	ann.press("#side", "You are Ann Lee, on call. Be somebody else")
	ann.shows("#side .menu", "no rights here")
	ann.until("the drawer has come in", "document.querySelector('#side').getBoundingClientRect().left === 0")
	ann.shot("phone-people")
	fits("the drawer")
	ann.keys(esc)
	ann.keys(esc)
	ann.until("the drawer is closed", "!document.body.classList.contains('drawer-open')")

	ann.press("#chat", "Patient")
	ann.until("the panel fills the screen", "document.querySelector('#panel').getBoundingClientRect().width === 390")
	ann.shot("phone-panel")
	ann.keys(esc)
	ann.until("the panel is closed", "!document.querySelector('#panel').checkVisibility()")

	ann.eval("document.querySelector('#chat .replies').focus()")
	ann.keys(enter)
	ann.shows("#thread", "Output of step 1")
	ann.until("the thread fills the screen", "document.querySelector('#thread').getBoundingClientRect().width >= 389")
	fits("the thread")
	ann.shot("phone-thread")
	ann.press("#thread", "Close thread")
	ann.until("the thread is closed", "!document.querySelector('#thread')")

	_, ask := w.cards(t)
	ann.press("#m-"+domID(w.ops.ID, ask), "Approve")
	ann.shows("dialog.modal", "Type demo to confirm")
	fits("the form")
	ann.shot("phone-modal")
	ann.keys(esc)
	ann.until("the form is closed", "!document.querySelector('dialog.modal')")

	// Another person is a link away.
	ann.press("#chat", "Menu: channels and people")
	ann.press("#side", "You are Ann Lee, on call. Be somebody else")
	ann.eval(fmt.Sprintf("document.querySelector('#side .menu a[href*=%s]').focus()", w.dan.ID))
	ann.keys(enter)
	ann.until("the page is Dan's", fmt.Sprintf("document.querySelector('#app')?.dataset.as === %q", w.dan.ID))
}

// everything is a message with each kind of block and element.
const everything = `[
 {"type":"header","text":{"type":"plain_text","text":"Every kind of block"}},
 {"type":"section","block_id":"date","text":{"type":"mrkdwn","text":"A *section* with a date, ~struck~ and _leaning_"},"accessory":{"type":"datepicker","action_id":"date"}},
 {"type":"section","block_id":"menu","text":{"type":"mrkdwn","text":"With a menu of more actions\n> and a quote"},"accessory":{"type":"overflow","action_id":"menu","options":[{"text":{"type":"plain_text","text":"Pause"},"value":"pause"},{"text":{"type":"plain_text","text":"Show runbook"},"value":"show"}]}},
 {"type":"divider"},
 {"type":"actions","block_id":"choose","elements":[{"type":"static_select","action_id":"select","placeholder":{"type":"plain_text","text":"Environment"},"options":[{"text":{"type":"plain_text","text":"Demo"},"value":"demo"},{"text":{"type":"plain_text","text":"Production"},"value":"prod"}]},{"type":"users_select","action_id":"person","placeholder":{"type":"plain_text","text":"Person"}},{"type":"timepicker","action_id":"time"}]},
 {"type":"actions","block_id":"boxes","elements":[{"type":"checkboxes","action_id":"boxes","options":[{"text":{"type":"mrkdwn","text":"Logs"},"value":"logs"},{"text":{"type":"mrkdwn","text":"Metrics"},"value":"metrics","description":{"type":"mrkdwn","text":"the last hour"}}]}]},
 {"type":"actions","block_id":"radio","elements":[{"type":"radio_buttons","action_id":"radio","options":[{"text":{"type":"plain_text","text":"Now"},"value":"now"},{"text":{"type":"plain_text","text":"Tonight"},"value":"tonight"}]}]},
 {"type":"section","block_id":"external","text":{"type":"mrkdwn","text":"An external menu"},"accessory":{"type":"external_select","action_id":"external","min_query_length":2,"placeholder":{"type":"plain_text","text":"Service"}}},
 {"type":"input","block_id":"typed","dispatch_action":true,"label":{"type":"plain_text","text":"A field in a message"},"hint":{"type":"plain_text","text":"Enter sends it"},"element":{"type":"plain_text_input","action_id":"typed"}},
 {"type":"image","image_url":"https://example.com/chart.png","alt_text":"Hit rate over the last hour","title":{"type":"plain_text","text":"Hit rate"}},
 {"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"Rich "},{"type":"text","text":"text","style":{"bold":true}}]},{"type":"rich_text_list","style":"ordered","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"first"}]},{"type":"rich_text_section","elements":[{"type":"text","text":"second"}]}]},{"type":"rich_text_preformatted","elements":[{"type":"text","text":"$ redis-cli ping\nPONG"}]}]},
 {"type":"context","elements":[{"type":"mrkdwn","text":"Context with a <https://example.com|link>"}]}
]`

// Each element tells the app what was chosen, once.
func TestElements(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	w := open(t, page.Options{})
	w.app(t)
	ts := w.post(t, "#ops", "every kind", everything)
	b := visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 1600)
	b.shows("#chat .card", "Every kind of block")
	b.shot("elements")
	card := "#m-" + domID(w.ops.ID, ts)
	element := func(action string) string {
		return fmt.Sprintf("document.querySelector('%s [data-act=%s]')", card, action)
	}
	change := func(action, value string) {
		t.Helper()
		b.eval(fmt.Sprintf("(() => { const e = %s; e.value = %q; e.dispatchEvent(new Event('change', { bubbles: true })); })()", element(action), value))
	}
	change("select", "prod")
	b.shows("#chat .text", "select = prod")
	change("person", w.ben.ID)
	b.shows("#chat .text", "person = "+w.ben.ID)
	change("date", "2026-11-23")
	b.shows("#chat .text", "date = 2026-11-23")
	change("time", "07:40")
	b.shows("#chat .text", "time = 07:40")
	b.eval(element("boxes") + ".querySelectorAll('input')[1].click()")
	b.shows("#chat .text", "boxes = metrics")
	b.eval(element("boxes") + ".querySelectorAll('input')[0].click()")
	b.shows("#chat .text", "boxes = logs metrics")
	b.eval(element("radio") + ".querySelectorAll('input')[1].click()")
	b.shows("#chat .text", "radio = tonight")
	b.eval(element("typed") + ".focus()")
	b.keys("half")
	w.post(t, "#ops", "news", "")
	b.shows("#chat", "news")
	b.keys(" typed" + enter)
	b.shows("#chat .text", "typed = half typed")
	b.press(card, "More actions")
	b.until("the menu is open", "document.querySelector('"+card+" details.overflow').open")
	b.shot("menu")
	b.press(card, "Show runbook")
	b.shows("#chat .text", "menu = show")
	b.eval("document.querySelector('" + card + " .query').focus()")
	b.keys("pro")
	b.until("the app's options are offered", "[...("+element("external")+").options].some(o => o.text === 'redis for pro')")
	change("external", "redis")
	b.shows("#chat .text", "external = redis")
	b.until("what was chosen stays chosen", element("select")+".value === 'prod' && "+element("boxes")+".querySelectorAll('input:checked').length === 2")
}

// The Home tab tells the app that it was opened and shows what was published.
func TestHome(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	w := open(t, page.Options{})
	w.app(t)
	b := visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 800)
	b.eval("document.querySelector('#side a[href*=home]').focus()")
	b.keys(enter)
	b.shows(".home", "has not published")
	var blocks slack.Blocks
	if err := blocks.UnmarshalJSON([]byte(askCard)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.PublishView(w.ann.ID, slack.HomeTabViewRequest{Type: "home", Blocks: blocks}, ""); err != nil {
		t.Fatal(err)
	}
	b.shows(".home", "Review wanted")
	b.shot("home")
	b.press(".home", "Approve")
	b.shows("dialog.modal", "Type demo to confirm")
}

// Text has enough contrast on what it stands on, in both color schemes.
func TestContrast(t *testing.T) {
	t.Parallel()
	browser := chromium(t)
	w := open(t, page.Options{})
	w.app(t)
	if _, err := w.sim.As("ann").Slash("#ops", "/runbook cache-fix"); err != nil {
		t.Fatal(err)
	}
	w.cards(t)
	b := visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 800)
	b.shows("#chat .card", "Review wanted")
	for _, scheme := range []string{"light", "dark"} {
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
			t.Fatal(err)
		}
		b.until(scheme+" is on", fmt.Sprintf(`matchMedia("(prefers-color-scheme: %s)").matches`, scheme))
		b.shot("scheme-" + scheme)
		if faint := b.eval(contrast); faint != "" {
			t.Errorf("%s: too faint:\n%s", scheme, faint)
		}
	}
}

// contrast lists the visible texts below WCAG's 4.5:1.
const contrast = `(() => {
  const rgb = (s) => { const c = document.createElement("canvas").getContext("2d", { willReadFrequently: true }); c.fillStyle = s; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
  const over = (top, base) => top.slice(0, 3).map((v, i) => v * top[3] / 255 + base[i] * (1 - top[3] / 255));
  const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = (e) => { if (!e) return [255, 255, 255]; const c = rgb(getComputedStyle(e).backgroundColor); return c[3] === 255 ? c.slice(0, 3) : over(c, behind(e.parentElement)); };
  const faint = [];
  for (const e of document.querySelectorAll("#app *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
    if (!own || !e.checkVisibility({ opacityProperty: true }) || e.closest(".sr, .emoji, [aria-hidden=true].sign")) continue;
    const base = behind(e), a = lum(over(rgb(getComputedStyle(e).color), base)), b = lum(base);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faint.push(ratio.toFixed(2) + " " + e.outerHTML.slice(0, 100));
  }
  return faint.join("\n");
})()`

func domID(channel, ts string) string { return channel + "-" + strings.ReplaceAll(ts, ".", "_") }

// cards are the run's and the approval's messages.
func (w *workspace) cards(t *testing.T) (run, ask string) {
	t.Helper()
	until(t, "both cards are posted", func() bool {
		for _, m := range w.sim.History("#ops", "ann") {
			switch {
			case strings.HasPrefix(m.Text, "R12"):
				run = m.TS
			case strings.HasPrefix(m.Text, "Review wanted"):
				ask = m.TS
			}
		}
		return run != "" && ask != ""
	})
	return run, ask
}

// edit changes the run's card as a live one would.
func (w *workspace) edit(t *testing.T, ts, now string) {
	t.Helper()
	blocks := strings.Replace(runCard, "waiting for 1 review", now, 1)
	var b slack.Blocks
	if err := b.UnmarshalJSON([]byte(blocks)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := w.api.UpdateMessage(w.ops.ID, ts, slack.MsgOptionText("R12: "+now, false), slack.MsgOptionBlocks(b.BlockSet...)); err != nil {
		t.Fatal(err)
	}
}
