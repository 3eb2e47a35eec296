package page_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/slack-go/slack"

	"opsbot/internal/slacksim/page"
	"opsbot/internal/slacksim/pagetest"
)

// room goes to a channel by its link.
func room(p *pagetest.Page, channel string) {
	p.Eval(fmt.Sprintf("document.querySelector('#room-%s a').focus()", channel))
	p.Keys(pagetest.Enter)
}

const (
	composer = "document.querySelector('#chat textarea')"
	field    = "document.querySelector('dialog.modal input')"
)

// One person runs a runbook by keyboard alone, another one helps in a tab of
// their own, and nothing that is half typed is lost while cards change.
func TestStory(t *testing.T) {
	t.Parallel()
	browser := pagetest.Browser(t)
	panel := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><html lang="en"><meta name="color-scheme" content="light dark"><title>Patient</title><p>Hit rate 3.1 %</html>`)
	})
	w := open(t, page.Options{Panel: panel, PanelTitle: "Patient"})
	w.app(t)
	if _, err := w.sim.As("ben").Say("#ops", "The hit rate fell off a cliff."); err != nil {
		t.Fatal(err)
	}
	ann := pagetest.Visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 800)
	ben := pagetest.Visit(t, ann.Context(), w.url+at(w.ben.ID, w.general.ID), 1280, 800)

	// The command is found by its first letters and completed by Tab.
	ann.Until("the composer has the focus", composer+" === document.activeElement")
	ann.Keys("/ru")
	ann.Shows(".suggest", "List, show and run runbooks")
	ann.Shot("commands")
	ann.Keys(pagetest.Tab)
	ann.Until("the command is completed", composer+".value === '/runbook '")
	ann.Keys("cache-fix" + pagetest.Enter)
	ann.Shows("#chat .card", "Is Redis well?")
	ann.Shows("#chat .card", "Review wanted")
	ann.Until("the composer is empty", composer+".value === ''")
	ann.Shot("cards")
	ben.Shows("#toasts", "Review wanted: Clear our keys")
	ben.Shows("#side .unread", "ops")

	// A live edit leaves the composer, its caret and the focus alone.
	run, ask := w.cards(t)
	ann.Keys("half a sen")
	w.edit(t, run, "2 of 1 reviews")
	ann.Shows("#chat .card", "2 of 1 reviews")
	ann.Until("the text is still there", composer+".value === 'half a sen' && document.activeElement === "+composer+" && "+composer+".selectionStart === 10")

	// A draft survives a look at another channel.
	room(ann, w.general.ID)
	ann.Shows("#chat h1", "general")
	ann.Until("the other composer is empty", composer+".value === ''")
	room(ann, w.ops.ID)
	ann.Until("the draft is back", composer+".value === 'half a sen'")
	ann.Eval(composer + ".select()")
	ann.Keys("\b" + pagetest.Up)
	ann.Until("what was sent comes back", composer+".value === '/runbook cache-fix'")
	ann.Keys(pagetest.Down)
	ann.Until("and goes again", composer+".value === ''")

	// A name is completed after its @; Shift+Enter starts a line.
	ann.Keys("hello @be")
	ann.Shows("#chat .suggest", "Ben Okafor")
	ann.Keys(pagetest.Tab + "and")
	ann.Do(chromedp.KeyEvent(pagetest.Enter, chromedp.KeyModifiers(chromedp.ModifierShift)))
	ann.Keys("all" + pagetest.Enter)
	ann.Until("both lines are said", "[...document.querySelectorAll('#chat .text')].some(e => e.innerText === 'hello @Ben Okafor and\\nall')")
	ben.Shows("#toasts", "hello @Ben Okafor and all")

	// The form: opened by a button, kept while things change, with errors at
	// the field, closed by a right answer.
	ann.Press("#m-"+domID(w.ops.ID, ask), "Approve")
	ann.Until("the form is open and its field has the focus", field+" && document.activeElement === "+field)
	ann.Keys("dem")
	ann.Shot("modal")
	w.edit(t, run, "3 of 1 reviews")
	w.post(t, "#ops", "something else happened", "")
	ann.Shows("#chat", "something else happened")
	ann.Until("the half-typed answer is still there", field+".value === 'dem' && document.activeElement === "+field)
	ann.Keys("x" + pagetest.Enter)
	ann.Shows("dialog.modal .field-error", "That is not demo.")
	ann.Until("the wrong answer is there to be corrected", field+".value === 'demx' && document.activeElement === "+field+" && "+field+".getAttribute('aria-invalid') === 'true'")
	ann.Shot("error")
	ann.Keys("\bo" + pagetest.Tab + "because it is sick" + pagetest.Tab + " " + pagetest.Tab + pagetest.Tab + pagetest.Tab)
	ann.Until("Tab stays in the form", "document.activeElement.closest('dialog.modal')")
	ann.Eval(field + ".focus()")
	ann.Keys(pagetest.Enter)
	ann.Until("the form is closed", "!document.querySelector('dialog.modal')")
	ann.Shows("#chat", "confirmed: because it is sick deploy")
	ann.Until("the focus is back at the button", "document.activeElement.innerText === 'Approve'")

	// Escape closes a form, too.
	ann.Keys(pagetest.Enter)
	ann.Until("the form is open again and empty", field+" && "+field+".value === ''")
	ann.Keys(pagetest.Esc)
	ann.Until("the form is closed", "!document.querySelector('dialog.modal')")
	until(t, "the simulator knows", func() bool { return len(w.sim.As("ann").Views()) == 0 })

	// A button that the app does not answer for.
	ann.Press("#m-"+domID(w.ops.ID, run), "Details")
	ann.Until("the button is busy", "document.querySelector('#chat .btn.busy')")
	w.sim.Advance(4 * time.Second)
	ann.Until("the button shows the failure", "document.querySelector('#chat .warn')?.getAttribute('aria-label').includes('three seconds')")

	// A confirm dialog asks first.
	ann.Press("#m-"+domID(w.ops.ID, run), "Stop")
	ann.Shows(".confirm-dialog", "nothing is undone")
	ann.Shot("confirm")
	ann.Keys(pagetest.Esc)
	ann.Until("the dialog is gone and the focus back", "!document.querySelector('.confirm-dialog') && document.activeElement.innerText === 'Stop'")
	ann.Keys(pagetest.Enter)
	ann.Until("the dialog is open", "document.querySelector('.confirm-dialog[open]')")
	ann.Keys(pagetest.Enter)
	ann.Shows("#chat", "R12 was stopped by @Ann Lee")
	ann.Until("the focus stays near the button that is gone", "document.activeElement.closest('.msg') || document.activeElement.matches('textarea')")

	// Threads: a reply, and no commands.
	room(ben, w.ops.ID)
	ben.Shows("#chat .replies", "2 replies")
	ben.Eval("document.querySelector('#chat .replies').focus()")
	ben.Keys(pagetest.Enter)
	ben.Shows("#thread", "Output of step 1")
	ben.Until("the thread's composer has the focus", "document.activeElement.matches('#thread textarea')")
	ben.Keys("on it" + pagetest.Enter)
	ben.Shows("#thread", "on it")
	ann.Shows("#chat .replies", "3 replies")
	ben.Keys("/runbook" + pagetest.Enter)
	ben.Shows("#thread .error", "not supported in threads")
	ben.Shot("thread")
	ben.Keys(pagetest.Esc + pagetest.Esc)
	ben.Until("the thread is closed", "!document.querySelector('#thread')")

	// An ephemeral answer, and its dismissal.
	ann.Eval(composer + ".focus()")
	ann.Keys("/runbook" + pagetest.Enter)
	ann.Shows("#chat .ephemeral", "Only visible to you")
	ben.Lacks("#chat", "Only visible to you")
	ann.Press("#chat .ephemeral", "Dismiss")
	ann.Lacks("#chat", "Only visible to you")

	// Reactions by keyboard: to a message by the arrows, to its menu by Tab.
	ann.Eval("document.querySelector('#chat .messages').focus()")
	ann.Keys(pagetest.Up)
	ann.Until("a message has the focus", "document.activeElement.matches('.msg')")
	ann.Keys(pagetest.Tab + pagetest.Tab + pagetest.Tab)
	ann.Press("#chat .msg:focus-within .tools", "Add a reaction")
	ann.Press("#chat .msg:focus-within .tools", "eyes")
	ann.Shows("#chat .reaction", "1")

	// Pins, the app's message shortcuts and edits are behind the same corner.
	ann.Eval("document.querySelector('#chat .messages').focus()")
	ann.Keys(pagetest.Up)
	ann.Until("a message has the focus", "document.activeElement.matches('.msg')")
	ann.Press("#chat .msg:focus-within .tools", "More for this message")
	ann.Shows("#chat .msg:focus-within .tools", "Add to incident timeline")
	ann.Shot("message-menu")
	ann.Press("#chat .msg:focus-within .tools", "Pin to channel")
	ann.Shows("#chat .byline", "pinned")

	// Nothing is served from elsewhere, and the panel is there.
	ann.Until("the panel is shown", "document.querySelector('#panel iframe').checkVisibility()")
	if got := ann.Eval(`performance.getEntriesByType("resource").filter(r => !r.name.startsWith(location.origin)).length`); got != "0" {
		t.Errorf("%s resources come from elsewhere", got)
	}
}

// At a phone's width nothing sticks out, and everything is a sheet away.
func TestPhone(t *testing.T) {
	t.Parallel()
	browser := pagetest.Browser(t)
	panel := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><html lang="en"><meta name="color-scheme" content="light dark"><title>Patient</title><p>Hit rate 3.1 %</html>`)
	})
	w := open(t, page.Options{Panel: panel, PanelTitle: "Patient"})
	w.app(t)
	ann := pagetest.Visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 390, 844)
	fits := func(where string) {
		t.Helper()
		if got := ann.Eval("document.documentElement.scrollWidth"); got != "390" {
			t.Errorf("%s is %s pixels wide, want 390", where, got)
		}
		if wide := ann.Eval(`[...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.closest(".sr, #side, .skip") && !e.matches(".sr, .skip") && e.getBoundingClientRect().right > 391 && getComputedStyle(e.parentElement).overflowX === "visible").map(e => e.outerHTML.slice(0, 80)).join("\n")`); wide != "" {
			t.Errorf("%s: this sticks out:\n%s", where, wide)
		}
	}
	ann.Eval(composer + ".focus()")
	ann.Keys("/runbook cache-fix" + pagetest.Enter)
	ann.Shows("#chat .card", "Review wanted")
	fits("the channel")
	ann.Shot("phone")

	ann.Press("#chat", "Menu: channels and people")
	ann.Until("the drawer is open with the focus in it", "document.querySelector('#side').contains(document.activeElement)")
	ann.Press("#side", "You are Ann Lee, on call. Be somebody else")
	ann.Shows("#side .menu", "no rights here")
	ann.Until("the drawer has come in", "document.querySelector('#side').getBoundingClientRect().left === 0")
	ann.Shot("phone-people")
	fits("the drawer")
	ann.Keys(pagetest.Esc)
	ann.Keys(pagetest.Esc)
	ann.Until("the drawer is closed", "!document.body.classList.contains('drawer-open')")

	ann.Press("#chat", "Patient")
	ann.Until("the panel fills the screen", "document.querySelector('#panel').getBoundingClientRect().width === 390")
	ann.Shot("phone-panel")
	ann.Keys(pagetest.Esc)
	ann.Until("the panel is closed", "!document.querySelector('#panel').checkVisibility()")

	ann.Eval("document.querySelector('#chat .replies').focus()")
	ann.Keys(pagetest.Enter)
	ann.Shows("#thread", "Output of step 1")
	ann.Until("the thread fills the screen", "document.querySelector('#thread').getBoundingClientRect().width >= 389")
	fits("the thread")
	ann.Shot("phone-thread")
	ann.Press("#thread", "Close thread")
	ann.Until("the thread is closed", "!document.querySelector('#thread')")

	_, ask := w.cards(t)
	ann.Press("#m-"+domID(w.ops.ID, ask), "Approve")
	ann.Shows("dialog.modal", "Type demo to confirm")
	fits("the form")
	ann.Shot("phone-modal")
	ann.Keys(pagetest.Esc)
	ann.Until("the form is closed", "!document.querySelector('dialog.modal')")

	// Another person is a link away.
	ann.Press("#chat", "Menu: channels and people")
	ann.Press("#side", "You are Ann Lee, on call. Be somebody else")
	ann.Eval(fmt.Sprintf("document.querySelector('#side .menu a[href*=%s]').focus()", w.dan.ID))
	ann.Keys(pagetest.Enter)
	ann.Until("the page is Dan's", fmt.Sprintf("document.querySelector('#app')?.dataset.as === %q", w.dan.ID))
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
	browser := pagetest.Browser(t)
	w := open(t, page.Options{})
	w.app(t)
	ts := w.post(t, "#ops", "every kind", everything)
	b := pagetest.Visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 1600)
	b.Shows("#chat .card", "Every kind of block")
	b.Shot("elements")
	card := "#m-" + domID(w.ops.ID, ts)
	element := func(action string) string {
		return fmt.Sprintf("document.querySelector('%s [data-act=%s]')", card, action)
	}
	change := func(action, value string) {
		t.Helper()
		b.Eval(fmt.Sprintf("(() => { const e = %s; e.value = %q; e.dispatchEvent(new Event('change', { bubbles: true })); })()", element(action), value))
	}
	change("select", "prod")
	b.Shows("#chat .text", "select = prod")
	change("person", w.ben.ID)
	b.Shows("#chat .text", "person = "+w.ben.ID)
	change("date", "2026-11-23")
	b.Shows("#chat .text", "date = 2026-11-23")
	change("time", "07:40")
	b.Shows("#chat .text", "time = 07:40")
	b.Eval(element("boxes") + ".querySelectorAll('input')[1].click()")
	b.Shows("#chat .text", "boxes = metrics")
	b.Eval(element("boxes") + ".querySelectorAll('input')[0].click()")
	b.Shows("#chat .text", "boxes = logs metrics")
	b.Eval(element("radio") + ".querySelectorAll('input')[1].click()")
	b.Shows("#chat .text", "radio = tonight")
	b.Eval(element("typed") + ".focus()")
	b.Keys("half")
	w.post(t, "#ops", "news", "")
	b.Shows("#chat", "news")
	b.Keys(" typed" + pagetest.Enter)
	b.Shows("#chat .text", "typed = half typed")
	b.Press(card, "More actions")
	b.Until("the menu is open", "document.querySelector('"+card+" details.overflow').open")
	b.Shot("menu")
	b.Press(card, "Show runbook")
	b.Shows("#chat .text", "menu = show")
	b.Eval("document.querySelector('" + card + " .query').focus()")
	b.Keys("pro")
	b.Until("the app's options are offered", "[...("+element("external")+").options].some(o => o.text === 'redis for pro')")
	change("external", "redis")
	b.Shows("#chat .text", "external = redis")
	b.Until("what was chosen stays chosen", element("select")+".value === 'prod' && "+element("boxes")+".querySelectorAll('input:checked').length === 2")
}

// The Home tab tells the app that it was opened and shows what was published.
func TestHome(t *testing.T) {
	t.Parallel()
	browser := pagetest.Browser(t)
	w := open(t, page.Options{})
	w.app(t)
	b := pagetest.Visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 800)
	b.Eval("document.querySelector('#side a[href*=home]').focus()")
	b.Keys(pagetest.Enter)
	b.Shows(".home", "has not published")
	var blocks slack.Blocks
	if err := blocks.UnmarshalJSON([]byte(askCard)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.PublishView(w.ann.ID, slack.HomeTabViewRequest{Type: "home", Blocks: blocks}, ""); err != nil {
		t.Fatal(err)
	}
	b.Shows(".home", "Review wanted")
	b.Shot("home")
	b.Press(".home", "Approve")
	b.Shows("dialog.modal", "Type demo to confirm")
}

// Text has enough contrast on what it stands on, in both color schemes.
func TestContrast(t *testing.T) {
	t.Parallel()
	browser := pagetest.Browser(t)
	w := open(t, page.Options{})
	w.app(t)
	if _, err := w.sim.As("ann").Slash("#ops", "/runbook cache-fix"); err != nil {
		t.Fatal(err)
	}
	w.cards(t)
	b := pagetest.Visit(t, browser, w.url+at(w.ann.ID, w.ops.ID), 1280, 800)
	b.Shows("#chat .card", "Review wanted")
	for _, scheme := range []string{"light", "dark"} {
		if _, err := chromedp.Call(b.Context(), emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
			t.Fatal(err)
		}
		b.Until(scheme+" is on", fmt.Sprintf(`matchMedia("(prefers-color-scheme: %s)").matches`, scheme))
		b.Shot("scheme-" + scheme)
		if faint := b.Eval(contrast); faint != "" {
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
