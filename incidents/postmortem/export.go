package postmortem

import (
	"encoding/json"
	"fmt"
	"time"

	"opsbot/incidents"
	"opsbot/incidents/stats"
)

// JSON is the whole record for scripts, with the post-mortem's text if there
// is one. Times are RFC 3339 in UTC, null where nobody knows; lengths of time
// are seconds.
func JSON(r Record, text string) ([]byte, error) {
	i := r.Incident
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		u := t.UTC()
		return &u
	}
	type person struct {
		ID   string `json:"id"`
		Name string `json:"name,omitempty"`
	}
	type role struct {
		person
		Role     string     `json:"role"`
		Tag      string     `json:"tag,omitempty"`
		Accepted *time.Time `json:"accepted"`
	}
	type hidden struct {
		By  person `json:"by"`
		Why string `json:"why,omitempty"`
	}
	type event struct {
		Number   int64      `json:"number"`
		Kind     string     `json:"kind"`
		At       *time.Time `json:"at"`
		Recorded *time.Time `json:"recorded"`
		By       person     `json:"by"`
		Text     string     `json:"text,omitempty"`
		Says     string     `json:"says,omitempty"`
		Was      []string   `json:"was,omitempty"`
		Deleted  bool       `json:"deleted,omitempty"`
		Hidden   *hidden    `json:"hidden,omitempty"`
	}
	type update struct {
		ID       string     `json:"id"`
		Audience string     `json:"audience"`
		Text     string     `json:"text"`
		State    string     `json:"state"`
		By       person     `json:"by"`
		At       *time.Time `json:"at"`
		Due      *time.Time `json:"due"`
	}
	type task struct {
		Number int        `json:"number"`
		Text   string     `json:"text"`
		Owner  string     `json:"owner,omitempty"`
		Due    string     `json:"due,omitempty"`
		Done   *time.Time `json:"done"`
	}
	type run struct {
		Run       string     `json:"run"`
		Title     string     `json:"title"`
		Where     string     `json:"environment"`
		Starter   string     `json:"starter"`
		Reviewers []string   `json:"reviewers"`
		Outcome   string     `json:"outcome"`
		Started   *time.Time `json:"started"`
		Ended     *time.Time `json:"ended"`
		Planned   float64    `json:"planned_seconds"`
		Waited    float64    `json:"waited_seconds"`
	}
	out := struct {
		Ref        string                `json:"ref"`
		ID         string                `json:"id"`
		Title      string                `json:"title"`
		State      string                `json:"state"`
		Severity   string                `json:"severity"`
		Security   bool                  `json:"security"`
		Drill      bool                  `json:"drill"`
		Down       string                `json:"down,omitempty"`
		Affected   string                `json:"affected,omitempty"`
		Impact     string                `json:"impact,omitempty"`
		Summary    string                `json:"summary,omitempty"`
		MergedInto string                `json:"merged_into,omitempty"`
		Times      map[string]*time.Time `json:"times"`
		Seconds    map[string]*float64   `json:"seconds"`
		Reopened   int                   `json:"reopened"`
		Roles      []role                `json:"roles"`
		Timeline   []event               `json:"timeline"`
		Updates    []update              `json:"updates"`
		Tasks      []task                `json:"tasks"`
		Runs       []run                 `json:"runs"`
		Postmortem string                `json:"postmortem,omitempty"`
	}{
		Ref: i.Ref(), ID: i.ID, Title: i.Title, State: string(i.State), Severity: string(i.Severity), Security: i.Security, Drill: i.Drill,
		Down: i.Down, Affected: i.Affected, Impact: i.Impact, Summary: i.Summary, Reopened: i.Reopened, Postmortem: text,
		Times: map[string]*time.Time{
			"started": at(i.Started), "detected": at(i.Detected), "declared": at(i.Declared), "acknowledged": at(i.Acknowledged),
			"mitigated": at(i.Mitigated), "resolved": at(i.Resolved), "ended": at(i.Ended),
		},
		Seconds: map[string]*float64{}, Roles: []role{}, Timeline: []event{}, Updates: []update{}, Tasks: []task{}, Runs: []run{},
	}
	if i.Into != 0 {
		out.MergedInto = fmt.Sprintf("INC-%d", i.Into)
	}
	var waited time.Duration
	for _, x := range r.Runs {
		waited += x.Waited
		out.Runs = append(out.Runs, run{fmt.Sprintf("R%d", x.Number), x.Title, x.Where, x.Starter, append([]string{}, x.Reviewers...), x.Outcome,
			at(x.Started), at(x.Ended), x.Planned.Seconds(), x.Waited.Seconds()})
	}
	measured := Measured(i, waited)
	for _, m := range stats.Measures {
		out.Seconds[string(m)] = nil
		if d, ok := measured.Of(m); ok {
			s := d.Seconds()
			out.Seconds[string(m)] = &s
		}
	}
	for _, x := range i.Roles {
		out.Roles = append(out.Roles, role{person{x.Actor.ID, x.Actor.Name}, string(x.Kind), x.Tag, at(x.Accepted)})
	}
	for _, x := range incidents.Read(r.Events) {
		var h *hidden
		if x.Hidden {
			h = &hidden{person{x.Hider.ID, x.Hider.Name}, x.Why}
		}
		out.Timeline = append(out.Timeline, event{x.Seq, string(x.Kind), at(x.Occurred), at(x.Recorded), person{x.Actor.ID, x.Actor.Name}, x.Text, x.Say(), x.Was, x.Deleted, h})
	}
	for _, x := range r.Updates {
		out.Updates = append(out.Updates, update{x.ID, string(x.Audience), x.Text, string(x.State), person{x.By.ID, x.By.Name}, at(x.At), at(x.Due)})
	}
	for _, x := range i.Tasks {
		out.Tasks = append(out.Tasks, task{x.Number, x.Text, x.Owner, x.Due, at(x.Done)})
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("export %s: %w", i.Ref(), err)
	}
	return append(data, '\n'), nil
}
