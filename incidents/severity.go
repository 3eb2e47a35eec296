package incidents

import (
	"slices"
	"strings"
	"time"
)

// A Severity says how bad it is.
type Severity string

// The severities. An incident that nobody has assessed is treated like the worst.
const (
	Unassessed Severity = "SEV?"
	Sev1       Severity = "SEV1" // critical: down, losing data, broken into
	Sev2       Severity = "SEV2" // major
	Sev3       Severity = "SEV3" // minor
)

// Severities are those that people choose from, the worst first.
var Severities = []Severity{Sev1, Sev2, Sev3}

// ParseSeverity reads "sev1", "SEV-1" or "1".
func ParseSeverity(s string) (Severity, bool) {
	n := strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(s), "sev"), "-")
	for _, v := range Severities {
		if string(v[3:]) == n {
			return v, true
		}
	}
	if strings.EqualFold(s, string(Unassessed)) {
		return Unassessed, true
	}
	return "", false
}

// Critical reports whether the strictest rules hold: SEV1, and SEV? until
// somebody has assessed it.
func (s Severity) Critical() bool { return s == Sev1 || s == Unassessed }

// Word says the severity for people.
func (s Severity) Word() string {
	switch s {
	case Sev1:
		return "critical"
	case Sev2:
		return "major"
	case Sev3:
		return "minor"
	}
	return "not assessed yet, so handled like SEV1"
}

// Terms are what a severity asks for.
type Terms struct {
	Teams      time.Duration // between two updates to the teams; 0: none are due
	Users      time.Duration // between two updates to the users; 0: none are due
	Facing     bool          // the users' clock runs only if users notice it
	Comms      bool          // there must be a communications lead
	Postmortem bool          // it cannot be closed without a post-mortem and owned tasks
}

// Rules are what holds for every incident. Use DefaultRules.
type Rules struct {
	Terms   map[Severity]Terms // of Sev1, Sev2 and Sev3
	Budgets map[State]time.Duration
	// RoleNag is how long a role that must be filled may be empty or only
	// acting before somebody is asked; after as long again, the escalation
	// contact is.
	RoleNag time.Duration
	Snooze  time.Duration // what a snooze without a time means
	// AskAgain is after how long people must choose an interval anew.
	AskAgain time.Duration
	// OnCall are the groups whose members may take command; none: everybody
	// who may act at all.
	OnCall []string
	// Escalation are the groups that are called when nobody takes command, and
	// may take it, too; none: OnCall.
	Escalation []string
	// Triage are the runbooks that are offered when the triage begins, Verify
	// those that tell whether it is over, by name.
	Triage, Verify []string
}

// commanders are the groups whose members may take command: who is called to
// it must be able to answer.
func (r Rules) commanders() []string {
	list := slices.Clone(r.OnCall)
	for _, g := range r.Escalation {
		if !slices.Contains(list, g) {
			list = append(list, g)
		}
	}
	return list
}

// DefaultRules are the rules unless the configuration says otherwise.
func DefaultRules() Rules {
	return Rules{
		Terms: map[Severity]Terms{
			Sev1: {Teams: 5 * time.Minute, Users: 10 * time.Minute, Comms: true, Postmortem: true},
			Sev2: {Teams: 15 * time.Minute, Users: 30 * time.Minute, Facing: true, Comms: true, Postmortem: true},
			Sev3: {Teams: time.Hour},
		},
		Budgets: map[State]time.Duration{
			Declared: time.Minute, Assessing: 5 * time.Minute, Triaging: 5 * time.Minute, Fixing: 15 * time.Minute,
		},
		RoleNag: 2 * time.Minute, Snooze: 5 * time.Minute, AskAgain: 12 * time.Hour,
		Triage: []string{"major-incident", "daily-health-check", "full-recovery"}, Verify: []string{"daily-health-check"},
	}
}

// Of returns the terms of a severity; SEV? has those of SEV1.
func (r Rules) Of(s Severity) Terms {
	if s == Unassessed {
		s = Sev1
	}
	return r.Terms[s]
}

// Interval is how often an audience must hear of the incident; 0: it need not.
func (r Rules) Interval(i *Incident, of Alarm) time.Duration {
	t := r.Of(i.Severity)
	switch {
	case of == ForTeams:
		return t.Teams
	case of == ForUsers && !i.Security && (!t.Facing || i.UserFacing()):
		return t.Users
	}
	return 0
}
