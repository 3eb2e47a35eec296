package main

import (
	"testing"

	"opsbot/internal/slacksim/pagetest"
)

// The newcomer's story as a newcomer lives it: in a browser, with a keyboard,
// from the first command to the report, while the panel shows the patient get
// well.
func TestNewcomerInTheBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("drives a browser through a whole repair")
	}
	t.Parallel()
	browser := pagetest.Browser(t)
	h := newHouse(t)
	h.serve()
	page := h.work.url()
	ann := pagetest.Visit(t, browser, page+"/?as=UANN", 1280, 860)
	ben := pagetest.Visit(t, ann.Context(), page+"/?as=UBEN", 390, 844) // on the phone

	ann.Until("the composer has the focus", "document.activeElement.matches('#chat textarea')")
	ann.Shot("1-start")
	ann.Keys("/runbook" + pagetest.Enter)
	ann.Shows("#chat .ephemeral", "Cache troubleshooting")
	ann.Shot("2-what-there-is")

	ann.Eval("document.querySelector('#chat textarea').focus()")
	ann.Keys("/runbook cache-fix window=5s" + pagetest.Enter)
	ann.Shows("#chat .card", "Is Redis well?")
	ann.Shot("3-it-comes-alive")
	ann.Shows("#chat .replies", "replies")
	thread := "document.querySelector('#chat .replies').focus()"
	ann.Eval(thread)
	ann.Keys(pagetest.Enter)
	ann.Shows("#thread .card", "Remove up to")
	ann.Shot("4-confirm-card")
	ann.Press("#thread", "Confirm")
	ann.Shows("dialog.modal", "demo")
	ann.Shot("5-typed-confirm")
	ann.Keys("demo" + pagetest.Enter)
	ann.Shows("#thread .card", "Approve")
	ann.Press("#thread", "Approve")
	confirm(ann)
	ann.Shows("#thread", "somebody else has to approve")
	ann.Shot("6-own-approval-refused")

	ben.Shows("#chat .replies", "replies")
	ben.Eval(thread)
	ben.Keys(pagetest.Enter)
	ben.Shows("#thread .card", "Approve")
	ben.Shot("7-review-on-a-phone")
	ben.Press("#thread", "Approve")
	ben.Shows(".confirm-dialog", "")
	ben.Shot("8-last-question-on-a-phone")
	confirm(ben)
	ben.Shows("#thread .card", "Approved")

	ann.Shows("#thread", "Cache fix")
	ann.Shows("#chat .card", "Done")
	ann.Shot("9-done")
	ann.Eval("document.querySelector('#thread .messages').scrollTo(0, 1e6)")
	ann.Shot("10-report")
	ben.Shows("#thread", "Cache fix")
	ben.Shot("11-done-on-a-phone")
}

// confirm answers the dialog that a dangerous button shows first.
func confirm(p *pagetest.Page) {
	p.Until("the dialog is open", "document.querySelector('.confirm-dialog[open]')")
	p.Eval("document.querySelector('.confirm-dialog .btn.danger, .confirm-dialog .btn.primary').focus()")
	p.Keys(pagetest.Enter)
}
