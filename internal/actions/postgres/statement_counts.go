package postgres

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"opsbot/internal/fault"
)

// mostCounts is how many statements the counts remember, those first that took
// most time.
const mostCounts = 500

// statementCounts are what statements had taken at some time. The database only
// counts on and on; two of these give what was taken in between.
type statementCounts struct {
	At      time.Time `json:"at"`
	Reset   time.Time `json:"reset"`
	Dealloc int       `json:"dealloc"`
	// Of is [calls, milliseconds] of the statements, by role and queryid.
	Of map[string][2]float64 `json:"of"`
	// All: there were no others.
	All bool `json:"all"`
}

// most keeps those that took most time.
func (c statementCounts) most() statementCounts {
	if len(c.Of) <= mostCounts {
		return c
	}
	keys := slices.SortedFunc(maps.Keys(c.Of), func(a, b string) int { return cmp.Compare(c.Of[b][1], c.Of[a][1]) })
	kept := make(map[string][2]float64, mostCounts)
	for _, key := range keys[:mostCounts] {
		kept[key] = c.Of[key]
	}
	c.Of, c.All = kept, false
	return c
}

// text is the form in which the counts are kept in between.
func (c statementCounts) text() (string, error) {
	data, err := json.Marshal(c)
	return string(data), err
}

// readCounts reads what text wrote; "" is none. What is not from text is a
// *fault.Error of kind Invalid.
func readCounts(text string) (*statementCounts, error) {
	if text == "" {
		return nil, nil
	}
	var c statementCounts
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.At.IsZero() || len(c.Of) > mostCounts {
		return nil, fault.New(fault.Invalid, "postgres.slow_queries: argument \"since\" is not the counts of an earlier call.").
			Hinted("Save result.counts, and give it as it is.")
	}
	return &c, nil
}

// since gives what a statement has taken since the earlier counts; ok is false
// if that cannot be known.
func (c *statementCounts) since(key string, now statementCounts) (calls, ms float64, ok bool) {
	if c == nil || !c.Reset.Equal(now.Reset) {
		return 0, 0, false
	}
	is, was := now.Of[key], c.Of[key]
	if _, known := c.Of[key]; !known && (!c.All || c.Dealloc != now.Dealloc) {
		return 0, 0, false // it may have been there, beyond what was kept
	}
	if is[0] < was[0] || is[1] < was[1] {
		return 0, 0, false // it was forgotten meanwhile, or reset by itself
	}
	return is[0] - was[0], is[1] - was[1], true
}

func countsKey(role uint32, id int64) string { return fmt.Sprintf("%d/%d", role, id) }
