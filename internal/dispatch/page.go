package dispatch

import (
	"encoding/json"
	"fmt"
	"time"

	"opsbot/internal/redact"
)

// What a page asks of the paging service.
const (
	Trigger     = "trigger"     // call somebody
	Acknowledge = "acknowledge" // somebody has it: stop calling
	Resolve     = "resolve"     // it is over
)

// A Page calls people to an incident, or calls it off. It is the body of a
// parcel of KindPage, as a webhook gets it.
type Page struct {
	Action   string    `json:"action"`
	Key      string    `json:"key"`      // of the incident, the same in all its pages
	Call     string    `json:"call"`     // tells calls of one incident apart; who is called off hears that of the call
	Incident string    `json:"incident"` // INC-7
	Title    string    `json:"title"`
	Severity string    `json:"severity"` // SEV1, SEV2, SEV3, SEV?
	State    string    `json:"state"`
	Impact   string    `json:"impact,omitempty"`
	Note     string    `json:"note,omitempty"` // why they are called
	By       string    `json:"by,omitempty"`   // who called them
	Link     string    `json:"link,omitempty"` // to the incident's room
	At       time.Time `json:"at"`
}

// Parcel is the page for one place. Only the first page of each action and call
// counts; call tells calls for the same people apart, and what calls one off has
// its name.
func (p Page) Parcel(place, call string) (Parcel, error) {
	p.At, p.Call = p.At.UTC(), call
	for text, most := range map[*string]int{&p.Title: 300, &p.Impact: 1000, &p.Note: 1000} {
		*text = clip(redact.Secrets(*text), most)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return Parcel{}, fmt.Errorf("encode a page: %w", err)
	}
	return Parcel{Key: fmt.Sprintf("page/%s/%s/%s/%s", p.Key, place, p.Action, call), Place: place, Subject: p.Key, Kind: KindPage, Body: body}, nil
}
