package blockkit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestEveryLimitIsUsed(t *testing.T) {
	t.Parallel()
	if len(limits) < 50 {
		t.Errorf("only %d limits were read", len(limits))
	}
	for path := range limits {
		if !usedLimits[path] {
			t.Errorf("limit %s is in facts, but no rule refers to it", path)
		}
	}
}

func n(s string, times int) string { return strings.Repeat(s, times) }

// list is a JSON array of the same item n times; each %d in it is its number.
func repeat(item string, times int) string {
	items := make([]string, times)
	for i := range items {
		items[i] = strings.ReplaceAll(item, "%d", fmt.Sprint(i))
	}
	return "[" + strings.Join(items, ",") + "]"
}

func plainText(s string) string { return `{"type":"plain_text","text":"` + s + `"}` }
func mrkdwn(s string) string    { return `{"type":"mrkdwn","text":"` + s + `"}` }
func actions(elements string) string {
	return `{"type":"actions","elements":` + elements + `}`
}
func button(more string) string {
	return `{"type":"button","text":` + plainText("Go") + more + `}`
}
func accessory(element string) string {
	return `{"type":"section","text":` + plainText("x") + `,"accessory":` + element + `}`
}
func input(element string) string {
	return `{"type":"input","label":` + plainText("L") + `,"element":` + element + `}`
}

const opt = `{"text":{"type":"plain_text","text":"o%d"},"value":"v%d"}`

// One row for each rule of a block, element or object: the limit itself passes
// and one more is refused with a pointer. Sources: slack.md §3.2 and §3.3 (D, L);
// rules 97 to 101 and 104 of its part 6.
func TestBlocks(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, block string
		want        string // the first problem; empty: none
	}{
		{"rule 98", `{"type":"section","text":` + mrkdwn(n("x", 3000)) + `}`, ""},
		{"rule 98", `{"type":"section","text":` + mrkdwn(n("x", 3001)) + `}`, "failed to match all allowed schemas [json-pointer:/blocks/0/text]"},
		{"rule 99", `{"type":"section"}`, "missing required field: text [json-pointer:/blocks/0]"},
		{"§3.2", `{"type":"section","fields":` + repeat(mrkdwn("x"), 10) + `}`, ""},
		{"§3.2", `{"type":"section","fields":` + repeat(mrkdwn("x"), 11) + `}`, "no more than 10 items allowed [json-pointer:/blocks/0/fields]"},
		{"§3.2", `{"type":"section","fields":[` + plainText(n("x", 2001)) + `]}`, "failed to match all allowed schemas [json-pointer:/blocks/0/fields/0]"},
		{"§3.2", `{"type":"section","fields":[]}`, "must provide at least 1 items [json-pointer:/blocks/0/fields]"},
		{"§3.5", `{"type":"header","text":` + plainText("") + `}`, "must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
		{"§3.2", `{"type":"header","text":` + plainText(n("x", 150)) + `}`, ""},
		{"§3.2", `{"type":"header","text":` + plainText(n("x", 151)) + `}`, "must be less than 151 characters [json-pointer:/blocks/0/text/text]"},
		{"§3.2", `{"type":"header","text":` + mrkdwn("x") + `}`, "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]"},
		{"§3.5", `{"type":"header"}`, "missing required field: text [json-pointer:/blocks/0]"},
		{"§3.5", `{"type":"nonsense"}`, "unsupported type: nonsense [json-pointer:/blocks/0/type]"},
		{"§3.5", `"words"`, "must provide an object [json-pointer:/blocks/0]"},
		{"§3.5", `{}`, "missing required field: type [json-pointer:/blocks/0]"},
		{"rule 101", `{"type":"divider","text":"x"}`, "invalid additional property: text [json-pointer:/blocks/0]"},
		{"rule 101", actions("[" + button(`,"colour":"red"`) + "]"), "invalid additional property: colour [json-pointer:/blocks/0/elements/0]"},
		{"§3.3", `{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}`, "failed to match all allowed schemas [json-pointer:/blocks/0/text]"},
		{"rule 99", `{"type":"context","elements":` + repeat(mrkdwn("x"), 10) + `}`, ""},
		{"rule 99", `{"type":"context","elements":` + repeat(mrkdwn("x"), 11) + `}`, "no more than 10 items allowed [json-pointer:/blocks/0/elements]"},
		{"§3.2", `{"type":"context","elements":[` + button("") + `]}`, "unsupported type: button [json-pointer:/blocks/0/elements/0/type]"},
		{"rule 99", actions(repeat(button(""), 25)), ""},
		{"rule 99", actions(repeat(button(""), 26)), "no more than 25 items allowed [json-pointer:/blocks/0/elements]"},
		{"§3.2", actions(`[{"type":"plain_text_input"}]`), "unsupported type: plain_text_input [json-pointer:/blocks/0/elements/0/type]"},
		{"rule 99", actions(`[{"type":"button","text":` + plainText(n("x", 75)) + `}]`), ""},
		{"rule 99", actions(`[{"type":"button","text":` + plainText(n("x", 76)) + `}]`), "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]"},
		{"§3.3", actions("[" + button(`,"value":"`+n("x", 2001)+`"`) + "]"), "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"},
		{"§3.3", actions("[" + button(`,"style":"warning"`) + "]"), "must be one of: primary, danger [json-pointer:/blocks/0/elements/0/style]"},
		{"§3.3", actions("[" + button(`,"url":"https://x/`+n("x", 3000)+`"`) + "]"), "must be less than 3001 characters [json-pointer:/blocks/0/elements/0/url]"},
		{"§3.3", actions("[" + button(`,"confirm":{"title":`+plainText(n("x", 101))+`,"text":`+mrkdwn("x")+`,"confirm":`+plainText("y")+`,"deny":`+plainText("n")+`}`) + "]"), "must be less than 101 characters [json-pointer:/blocks/0/elements/0/confirm/title/text]"},
		{"§3.3", actions("[" + button(`,"confirm":{"title":`+plainText("x")+`,"text":`+plainText("x")+`,"confirm":`+plainText(n("y", 31))+`,"deny":`+plainText("n")+`}`) + "]"), "must be less than 31 characters [json-pointer:/blocks/0/elements/0/confirm/confirm/text]"},
		{"§3.1", actions("[" + button(`,"action_id":"`+n("x", 256)+`"`) + "]"), "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]"},
		{"rule 100", actions("[" + button(`,"action_id":"x"`) + "," + button(`,"action_id":"x"`) + "]"), "`action_id` \"x\" already exists [json-pointer:/blocks/0/elements/1/action_id]"},
		{"rule 100", `{"type":"divider","block_id":"` + n("x", 256) + `"}`, "must be less than 256 characters [json-pointer:/blocks/0/block_id]"},
		{"rule 100", `{"type":"divider","block_id":"x"},{"type":"divider","block_id":"x"}`, "`block_id` \"x\" already exists [json-pointer:/blocks/1/block_id]"},
		{"rule 100: ?", actions("["+button(`,"action_id":"x"`)+"]") + "," + actions("["+button(`,"action_id":"x"`)+"]"), ""},
		{"rule 99", `{"type":"image","image_url":"https://x/y.png"}`, "missing required field: alt_text [json-pointer:/blocks/0]"},
		{"§3.2", `{"type":"image","alt_text":"a"}`, "missing required field: image_url [json-pointer:/blocks/0]"},
		{"§3.2", `{"type":"image","alt_text":"a","image_url":"https://x/y.png"}`, ""},
		{"§3.2", `{"type":"image","alt_text":"a","image_url":"nowhere"}`, "must be a valid URL [json-pointer:/blocks/0/image_url]"},
		{"§3.2", `{"type":"image","alt_text":"a","image_url":"https://x/y.png","slack_file":{"id":"F1"}}`, "must provide only one of `image_url` and `slack_file` [json-pointer:/blocks/0]"},
		{"§3.2", `{"type":"image","alt_text":"a","slack_file":{}}`, "must provide exactly one of `id` and `url` [json-pointer:/blocks/0/slack_file]"},
		{"rule 99", accessory(`{"type":"static_select","options":` + repeat(opt, 100) + `}`), ""},
		{"rule 99", accessory(`{"type":"static_select","options":` + repeat(opt, 101) + `}`), "no more than 100 items allowed [json-pointer:/blocks/0/accessory/options]"},
		{"§3.3", accessory(`{"type":"static_select"}`), "missing required field: options [json-pointer:/blocks/0/accessory]"},
		{"§3.3", accessory(`{"type":"static_select","options":` + repeat(opt, 1) + `,"option_groups":[{"label":` + plainText("g") + `,"options":` + repeat(opt, 1) + `}]}`), "must provide only one of `options` and `option_groups` [json-pointer:/blocks/0/accessory]"},
		{"§3.3", accessory(`{"type":"static_select","option_groups":[{"label":` + plainText(n("g", 76)) + `,"options":` + repeat(opt, 1) + `}]}`), "must be less than 76 characters [json-pointer:/blocks/0/accessory/option_groups/0/label/text]"},
		{"§3.3", accessory(`{"type":"static_select","options":` + repeat(opt, 2) + `,"initial_option":` + strings.ReplaceAll(opt, "%d", "1") + `}`), ""},
		{"§3.3", accessory(`{"type":"static_select","options":` + repeat(opt, 2) + `,"initial_option":` + strings.ReplaceAll(opt, "%d", "7") + `}`), "must match one of the provided options [json-pointer:/blocks/0/accessory/initial_option]"},
		{"§3.3", accessory(`{"type":"static_select","options":[{"text":` + plainText(n("x", 76)) + `,"value":"v"}]}`), "must be less than 76 characters [json-pointer:/blocks/0/accessory/options/0/text/text]"},
		{"§3.3", accessory(`{"type":"static_select","options":[{"text":` + plainText("x") + `,"value":"` + n("v", 151) + `"}]}`), "must be less than 151 characters [json-pointer:/blocks/0/accessory/options/0/value]"},
		{"§3.3", accessory(`{"type":"static_select","placeholder":` + plainText(n("x", 151)) + `,"options":` + repeat(opt, 1) + `}`), "must be less than 151 characters [json-pointer:/blocks/0/accessory/placeholder/text]"},
		{"rule 99", accessory(`{"type":"overflow","options":` + repeat(opt, 5) + `}`), ""},
		{"rule 99", accessory(`{"type":"overflow","options":` + repeat(opt, 6) + `}`), "no more than 5 items allowed [json-pointer:/blocks/0/accessory/options]"},
		{"rule 99", accessory(`{"type":"checkboxes","options":` + repeat(opt, 10) + `}`), ""},
		{"rule 99", accessory(`{"type":"checkboxes","options":` + repeat(opt, 11) + `}`), "no more than 10 items allowed [json-pointer:/blocks/0/accessory/options]"},
		{"§3.3", accessory(`{"type":"radio_buttons","options":` + repeat(opt, 11) + `}`), "no more than 10 items allowed [json-pointer:/blocks/0/accessory/options]"},
		{"§3.3", accessory(`{"type":"conversations_select","filter":{}}`), "must not be empty [json-pointer:/blocks/0/accessory/filter]"},
		{"§3.3", accessory(`{"type":"conversations_select","response_url_enabled":true}`), "only works in modals [json-pointer:/blocks/0/accessory/response_url_enabled]"},
		{"§3.3", accessory(`{"type":"datepicker","initial_date":"23.11.2026"}`), "must be a valid date or time [json-pointer:/blocks/0/accessory/initial_date]"},
		{"§3.3", accessory(`{"type":"datetimepicker","initial_date_time":5}`), "must be at least 1000000000 [json-pointer:/blocks/0/accessory/initial_date_time]"},
		{"§3.3", input(`{"type":"plain_text_input","min_length":5,"max_length":4}`), "must be less than `max_length` [json-pointer:/blocks/0/element/min_length]"},
		{"§3.3", input(`{"type":"plain_text_input","max_length":3001}`), "must be at most 3000 [json-pointer:/blocks/0/element/max_length]"},
		{"§3.3", input(`{"type":"file_input"}`), "unsupported type: file_input [json-pointer:/blocks/0/element/type]"},
		{"§3.3", input(button("")), "unsupported type: button [json-pointer:/blocks/0/element/type]"},
		{"§3.2", `{"type":"input","label":` + plainText(n("L", 2001)) + `,"element":{"type":"plain_text_input"}}`, "must be less than 2001 characters [json-pointer:/blocks/0/label/text]"},
		{"§3.2", `{"type":"markdown","text":"` + n("x", 12000) + `"}`, ""},
		{"§3.2", `{"type":"markdown","text":"` + n("x", 6000) + `"},{"type":"markdown","text":"` + n("x", 6001) + `"}`, "must be less than 12001 characters [json-pointer:/blocks]"},
		{"rule 104", `{"type":"table","rows":[[{"type":"raw_text","text":"a"}]]},{"type":"table","rows":[[{"type":"raw_text","text":"a"}]]}`, "only one table is allowed [json-pointer:/blocks]"},
		{"§3.2", `{"type":"table","rows":[[{"type":"raw_text","text":""}]]}`, "must be more than 0 characters [json-pointer:/blocks/0/rows/0/0/text]"},
		{"§3.2", `{"type":"table","rows":` + repeat(`[{"type":"raw_text","text":"a"}]`, 101) + `}`, "no more than 100 items allowed [json-pointer:/blocks/0/rows]"},
		{"§3.2", `{"type":"data_table","caption":"c","rows":[[{"type":"raw_text","text":"a"}]]}`, "must provide at least 2 items [json-pointer:/blocks/0/rows]"},
		{"§3.2", `{"type":"task_card","task_id":"1","title":"t","status":"done"}`, "must be one of: pending, in_progress, complete, error [json-pointer:/blocks/0/status]"},
		{"§3.2", `{"type":"plan","title":"p","tasks":[{"type":"task_card","task_id":"1","title":"t"}]}`, ""},
		{"§3.2", `{"type":"plan","title":"p","tasks":[{"type":"divider"}]}`, "unsupported type: divider [json-pointer:/blocks/0/tasks/0/type]"},
		{"§3.2", `{"type":"alert","text":` + mrkdwn("x") + `}`, "unsupported type: alert [json-pointer:/blocks/0/type]"},
		{"§3.2", `{"type":"carousel","elements":` + repeat(`{"type":"card","title":`+mrkdwn("x")+`}`, 11) + `}`, "no more than 10 items allowed [json-pointer:/blocks/0/elements]"},
		{"§3.2", `{"type":"container","title":` + plainText("t") + `,"child_blocks":[{"type":"divider"}]}`, ""},
		{"§3.2", `{"type":"layout","label":"l","rows":[{"items":[{"block":{"type":"divider"}}]}]}`, ""},
		{"§3.2", `{"type":"data_visualization","title":"t","chart":{"type":"pie","segments":[{"label":"a","value":0}]}}`, "must be greater than 0 [json-pointer:/blocks/0/chart/segments/0/value]"},
		{"§3.2", `{"type":"video","alt_text":"a","title":` + plainText(n("t", 201)) + `,"thumbnail_url":"https://x/y","video_url":"https://x/z"}`, "must be less than 201 characters [json-pointer:/blocks/0/title/text]"},
		{"§3.2", `{"type":"context_actions","elements":[{"type":"feedback_buttons","positive_button":{"text":` + plainText("+") + `,"value":"p"},"negative_button":{"text":` + plainText("-") + `,"value":"n"}}]}`, ""},
		{"§3.2", `{"type":"rich_text","elements":[{"type":"rich_text_list","style":"bullet","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"a","style":{"bold":true}}]}]}]}`, ""},
		{"§3.2", `{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":""}]}]}`, "must be more than 0 characters [json-pointer:/blocks/0/elements/0/elements/0/text]"},
	} {
		problems := Blocks(json.RawMessage("["+row.block+"]"), Message, "/blocks")
		got := ""
		if len(problems) > 0 {
			got = problems[0].String()
		}
		if got != row.want {
			t.Errorf("%s: %.120s\n got %q\nwant %q", row.rule, row.block, got, row.want)
		}
	}
}

// rules 95 to 97 and the other limits of views (slack.md §3.1).
func TestView(t *testing.T) {
	t.Parallel()
	const divider = `{"type":"divider"}`
	view := func(more, blocks string) string {
		return `{"type":"modal","title":{"type":"plain_text","text":"T"}` + more + `,"blocks":` + blocks + `}`
	}
	for _, row := range []struct{ rule, view, want string }{
		{"§3.1", view("", repeat(divider, 100)), ""},
		{"rule 97", view("", repeat(divider, 101)), "no more than 100 items allowed [json-pointer:/view/blocks]"},
		{"§3.1", view("", "[]"), "must provide at least 1 items [json-pointer:/view/blocks]"},
		{"X: slack-go", view("", "null"), "must provide an array [json-pointer:/view/blocks]"},
		{"rule 95", strings.Replace(view("", repeat(divider, 1)), `"T"`, `"`+n("T", 25)+`"`, 1), "must be less than 25 characters [json-pointer:/view/title/text]"},
		{"§3.1", view(`,"submit":`+plainText(n("S", 25)), repeat(divider, 1)), "must be less than 25 characters [json-pointer:/view/submit/text]"},
		{"§3.1", view(`,"private_metadata":"`+n("x", 3001)+`"`, repeat(divider, 1)), "must be less than 3001 characters [json-pointer:/view/private_metadata]"},
		{"§3.1", view(`,"callback_id":"`+n("x", 256)+`"`, repeat(divider, 1)), "must be less than 256 characters [json-pointer:/view/callback_id]"},
		{"§3.1", view(`,"external_id":"`+n("x", 256)+`"`, repeat(divider, 1)), "must be less than 256 characters [json-pointer:/view/external_id]"},
		{"rule 101", view(`,"colour":"red"`, repeat(divider, 1)), "invalid additional property: colour [json-pointer:/view]"},
		{"rule 96", view("", "["+divider+","+input(`{"type":"plain_text_input"}`)+"]"), "must define `submit` to use an `input` block in modals [json-pointer:/view/blocks/1/input]"},
		{"rule 96", view(`,"submit":`+plainText("S"), "["+input(`{"type":"file_input","max_files":10}`)+"]"), ""},
		{"§3.3", view(`,"submit":`+plainText("S"), "["+input(`{"type":"file_input","max_files":11}`)+"]"), "must be at most 10 [json-pointer:/view/blocks/0/element/max_files]"},
		{"§3.2", view("", `[{"type":"alert","level":"info","text":`+mrkdwn(n("x", 200))+`}]`), ""},
		{"§3.2", view("", `[{"type":"markdown","text":"x"}]`), "unsupported type: markdown [json-pointer:/view/blocks/0/type]"},
		{"§3.1", `{"type":"modal","blocks":[` + divider + `]}`, "missing required field: title [json-pointer:/view]"},
		{"§2.3", `{"type":"home","blocks":[` + input(`{"type":"plain_text_input"}`) + `]}`, ""},
		{"§2.3", `{"type":"home","title":` + plainText("T") + `,"blocks":[` + divider + `]}`, "invalid additional property: title [json-pointer:/view]"},
		{"§3.5", `{"type":"window"}`, "unsupported type: window [json-pointer:/view/type]"},
		{"§3.5", `{}`, "missing required field: type [json-pointer:/view]"},
		{"§3.5", `[]`, "must provide an object [json-pointer:/view]"},
	} {
		problems := View(json.RawMessage(row.view), "/view")
		got := ""
		if len(problems) > 0 {
			got = problems[0].String()
		}
		if got != row.want {
			t.Errorf("%s: %.120s\n got %q\nwant %q", row.rule, row.view, got, row.want)
		}
	}
}

// Slack adds IDs and defaults to what it accepts, and keeps the rest.
func TestComplete(t *testing.T) {
	t.Parallel()
	got := Complete(json.RawMessage(`[{"type":"section","text":`+mrkdwn("<@U1> & co")+`,"accessory":`+button("")+`},{"type":"divider","block_id":"mine"}]`), func() string { return "made" })
	want := `[{"accessory":{"action_id":"made","text":{"emoji":true,"text":"Go","type":"plain_text"},"type":"button"},"block_id":"made","text":{"text":"<@U1> & co","type":"mrkdwn","verbatim":false},"type":"section"},{"block_id":"mine","type":"divider"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if problems := Blocks(got, Message, ""); len(problems) > 0 {
		t.Errorf("completed blocks are refused: %v", problems)
	}
}

// Whatever is accepted stays accepted when it is completed, its text is
// counted, and nothing makes the checker fail.
func FuzzBlocks(f *testing.F) {
	seeds := []string{
		"[" + button("") + "]", "[" + actions("["+button("")+"]") + "]", `[{"type":"rich_text","elements":[]}]`,
		"[" + accessory(`{"type":"static_select","options":`+repeat(opt, 2)+`}`) + "]", `{"type":"modal"}`, `[[[]]]`, `null`, `[{"type":"section","text":null}]`,
		"[" + input(`{"type":"number_input","is_decimal_allowed":false}`) + "]", `[{"type":"table","rows":[[{"type":"raw_number","value":1e999}]]}]`,
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, on := range []Surface{Message, Modal, Home} {
			problems := Blocks(raw, on, "/blocks")
			if len(problems) > maxProblems+1 {
				t.Fatalf("%d problems", len(problems))
			}
			if len(problems) == 0 {
				i := 0
				done := Complete(raw, func() string { i++; return fmt.Sprintf("made-%d", i) })
				if again := Blocks(done, on, "/blocks"); len(again) > 0 && !strings.Contains(string(raw), "made-") {
					t.Fatalf("%s was accepted, %s is refused: %v", raw, done, again)
				}
				TextLength(done)
			}
		}
		View(raw, "/view")
	})
}

// Checks run in many goroutines at once; the race detector watches.
func TestConcurrentChecks(t *testing.T) {
	t.Parallel()
	raw := json.RawMessage(`[{"type":"context","elements":[` + mrkdwn("x") + `]},` + accessory(`{"type":"static_select","options":`+repeat(opt, 3)+`}`) + `]`)
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for range 50 {
				if p := Blocks(Complete(raw, func() string { return "id-" + fmt.Sprint(i) }), Message, ""); len(p) == 0 {
					t.Error("the same made-up id twice was accepted")
				}
				View(raw, "/view")
			}
		})
	}
}
