package outbox

import (
	"fmt"
	"strings"
	"time"
)

// A Home is what a person finds on the app's own page in Slack. Its notice is
// to that person; a later one replaces it.
type Home struct {
	User     string        `json:"user"` // id
	Sections []HomeSection `json:"sections"`
	At       time.Time     `json:"at"` // when it was true
}

// A HomeSection is one list on a Home.
type HomeSection struct {
	Title string `json:"title"`
	Items []Item `json:"items"`
	Empty string `json:"empty"` // said when there are no items
}

func (Home) ContentKind() string { return "home" }

func (h Home) Summary() string {
	var parts []string
	for _, s := range h.Sections {
		parts = append(parts, fmt.Sprintf("%s: %d", s.Title, len(s.Items)))
	}
	return strings.Join(parts, ", ")
}
