// Package feed tells the public of incidents, as JSON and as an Atom feed
// (RFC 4287). It knows only what was approved for the public.
package feed

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// A Feed is what the public is told.
type Feed struct {
	Title     string
	URL       string     // where people read it; "": nowhere but here
	Incidents []Incident // newest first
}

// An Incident is one that the public was told of.
type Incident struct {
	Number   int64
	Severity string   // SEV1 …
	Active   bool     // before it was resolved
	Updates  []Update // newest first, never none
}

// An Update is what was said, as it was approved.
type Update struct {
	ID   string // a UUID
	Word string // Investigating, Identified, Monitoring, Resolved
	Text string
	At   time.Time // published
}

// Ref is how the public may call the incident in questions to us.
func (i Incident) Ref() string { return fmt.Sprintf("INC-%d", i.Number) }

// Name is the beginning of what was said first: titles are for the teams, and
// nobody approved them for the public.
func (i Incident) Name() string { return firstSentence(i.Updates[len(i.Updates)-1].Text, 80) }

// Updated is when it last changed; the zero time for an empty feed.
func (f Feed) Updated() time.Time {
	var last time.Time
	for _, i := range f.Incidents {
		if at := i.Updates[0].At; at.After(last) {
			last = at
		}
	}
	return last.UTC().Truncate(time.Second)
}

func (f Feed) title() string {
	if f.Title == "" {
		return "Status"
	}
	return f.Title
}

// worst is the indicator of the worst active incident, with words for it.
func (f Feed) worst() (indicator, words string) {
	rank := 0
	for _, i := range f.Incidents {
		if !i.Active {
			continue
		}
		switch i.Severity {
		case "SEV3":
			rank = max(rank, 1)
		case "SEV2":
			rank = max(rank, 2)
		default:
			rank = 3
		}
	}
	indicator = []string{"none", "minor", "major", "critical"}[rank]
	words = []string{"All systems operational", "Minor disturbance", "Major disturbance", "Critical disturbance"}[rank]
	return indicator, words
}

// JSON renders the feed in the shape of Statuspage's summary, which many
// programs read: page, status, incidents with incident_updates.
func (f Feed) JSON() []byte {
	type update struct {
		ID        string `json:"id"`
		Status    string `json:"status"`
		Body      string `json:"body"`
		CreatedAt string `json:"created_at"`
	}
	type incident struct {
		ID         string   `json:"id"`
		Name       string   `json:"name"`
		Status     string   `json:"status"`
		Impact     string   `json:"impact"`
		CreatedAt  string   `json:"created_at"`
		UpdatedAt  string   `json:"updated_at"`
		ResolvedAt *string  `json:"resolved_at"`
		Updates    []update `json:"incident_updates"`
	}
	var out struct {
		Page struct {
			Name      string  `json:"name"`
			URL       string  `json:"url,omitempty"`
			UpdatedAt *string `json:"updated_at"`
		} `json:"page"`
		Status struct {
			Indicator   string `json:"indicator"`
			Description string `json:"description"`
		} `json:"status"`
		Incidents []incident `json:"incidents"`
	}
	out.Page.Name, out.Page.URL = f.title(), f.URL
	if at := f.Updated(); !at.IsZero() {
		s := stamp(at)
		out.Page.UpdatedAt = &s
	}
	out.Status.Indicator, out.Status.Description = f.worst()
	out.Incidents = []incident{}
	impact := map[string]string{"SEV3": "minor", "SEV2": "major"}
	for _, i := range f.Incidents {
		x := incident{
			ID: i.Ref(), Name: i.Name(), Status: strings.ToLower(i.Updates[0].Word), Impact: impact[i.Severity],
			CreatedAt: stamp(i.Updates[len(i.Updates)-1].At), UpdatedAt: stamp(i.Updates[0].At),
		}
		if x.Impact == "" {
			x.Impact = "critical"
		}
		if !i.Active {
			at := x.UpdatedAt
			for _, u := range i.Updates { // the earliest of the last words
				if u.Word != "Resolved" {
					break
				}
				at = stamp(u.At)
			}
			x.ResolvedAt = &at
		}
		for _, u := range i.Updates {
			x.Updates = append(x.Updates, update{u.ID, strings.ToLower(u.Word), valid(u.Text), stamp(u.At)})
		}
		out.Incidents = append(out.Incidents, x)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		panic("feed: " + err.Error()) // strings and nothing else
	}
	return b.Bytes()
}

func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// Elements of an Atom feed, in the order in which they are written.
type (
	atomFeed struct {
		XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
		ID      string      `xml:"id"`
		Title   string      `xml:"title"`
		Updated string      `xml:"updated"`
		Author  atomAuthor  `xml:"author"`
		Links   []atomLink  `xml:"link"`
		By      atomBy      `xml:"generator"`
		Entries []atomEntry `xml:"entry"`
	}
	atomAuthor struct {
		Name string `xml:"name"`
	}
	atomBy struct {
		Name string `xml:",chardata"`
	}
	atomLink struct {
		Rel  string `xml:"rel,attr"`
		Type string `xml:"type,attr,omitempty"`
		Href string `xml:"href,attr"`
	}
	atomEntry struct {
		ID        string       `xml:"id"`
		Title     string       `xml:"title"`
		Updated   string       `xml:"updated"`
		Published string       `xml:"published"`
		Category  atomCategory `xml:"category"`
		Links     []atomLink   `xml:"link"`
		Content   atomContent  `xml:"content"`
	}
	atomCategory struct {
		Term string `xml:"term,attr"`
	}
	atomContent struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	}
)

// maxEntries bounds the entries of an Atom feed; the newest are kept.
const maxEntries = 100

// Atom renders the feed with an entry for each update. Ids never change: an
// entry has its update's UUID, and the feed one that is made from its URL.
func (f Feed) Atom() []byte {
	x := atomFeed{
		ID:    "urn:uuid:" + uuid.NewSHA1(uuid.NameSpaceURL, []byte("opsbot status feed "+f.URL)).String(),
		Title: valid(f.title()), Updated: stamp(f.Updated()), Author: atomAuthor{valid(f.title())}, By: atomBy{"opsbot"},
		Links: []atomLink{{"self", "application/atom+xml", "status.atom"}},
	}
	if f.Updated().IsZero() {
		x.Updated = "1970-01-01T00:00:00Z"
	}
	if f.URL != "" {
		x.Links = append(x.Links, atomLink{"alternate", "text/html", f.URL})
	}
	for _, i := range f.Incidents {
		for _, u := range i.Updates {
			e := atomEntry{
				ID: "urn:uuid:" + u.ID, Title: valid(u.Word + ": " + i.Name() + " (" + i.Ref() + ")"), Updated: stamp(u.At), Published: stamp(u.At),
				Category: atomCategory{strings.ToLower(u.Word)}, Content: atomContent{"text", valid(u.Text)},
			}
			if f.URL != "" {
				e.Links = []atomLink{{"alternate", "text/html", f.URL}}
			}
			x.Entries = append(x.Entries, e)
		}
	}
	newestFirst(x.Entries)
	x.Entries = x.Entries[:min(len(x.Entries), maxEntries)]
	out, err := xml.MarshalIndent(x, "", "  ")
	if err != nil {
		panic("feed: " + err.Error()) // strings and nothing else
	}
	return append([]byte(xml.Header), append(out, '\n')...)
}

// valid leaves out what XML cannot hold, and what would turn the text around.
func valid(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r == utf8.RuneError || r == 0xFFFE || r == 0xFFFF || r >= 0x7F && r < 0xA0:
			return -1
		case r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// firstSentence is the beginning of a text, on one line, of at most so many
// characters.
func firstSentence(s string, most int) string {
	s = strings.Join(strings.Fields(valid(s)), " ")
	for _, end := range []string{". ", "! ", "? "} {
		if at := strings.Index(s, end); at > 0 {
			s = s[:at+1]
		}
	}
	s = strings.TrimSuffix(s, ".")
	if r := []rune(s); len(r) > most {
		s = strings.TrimSpace(string(r[:most-1])) + "…"
	}
	return s
}
