package blocks

import (
	"fmt"

	"github.com/slack-go/slack"

	"opsbot/internal/outbox"
)

// Home draws a person's page. It is pure.
func Home(h outbox.Home) slack.HomeTabViewRequest {
	p := newPage()
	p.actions(
		press{id: fmt.Sprint(idLine, "declare"), value: "incident declare", label: "Declare an incident", style: slack.StylePrimary},
		press{id: fmt.Sprint(idLine, "refresh"), value: homeLine, label: "Refresh"},
	)
	n := 0
	for k, s := range h.Sections {
		if k > 0 && len(p.blocks) < maxMessageBlocks-8 {
			p.blocks = append(p.blocks, slack.NewDividerBlock())
		}
		p.header(s.Title)
		if len(s.Items) == 0 {
			p.plain(s.Empty)
		}
		for i, it := range s.Items {
			// Every list gets its share.
			if i >= maxHomeItems || len(p.blocks) >= maxMessageBlocks-8 || p.room(600) < 600 {
				p.plain("… and " + many(len(s.Items)-i, "more", "more"))
				break
			}
			p.item(n, it)
			n++
		}
	}
	at := h.At.UTC()
	p.note(fmt.Sprintf("As of <!date^%d^{date_short_pretty} {time}|%s>. It is drawn when you come here, and on Refresh.", at.Unix(), at.Format("2006-01-02 15:04 UTC")))
	return slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: p.blocks}}
}

// maxHomeItems is how many rows of one list are shown.
const maxHomeItems = 8

// homeLine is the line of the button that draws the page anew.
const homeLine = "home"
