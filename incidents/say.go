package incidents

import (
	"fmt"
	"strings"
	"time"
)

// Say tells the entry in a sentence, without its time; "" for what nobody
// needs to read.
func (e Entry) Say() string {
	if e.Hidden {
		return "(hidden)"
	}
	s := e.sentence()
	if s == "" {
		return ""
	}
	if e.Backdated() {
		s += " (put on record at " + e.Recorded.UTC().Format("15:04 UTC") + ")"
	}
	if len(e.Was) > 0 {
		s += fmt.Sprintf(" (edited; it said %q)", e.Was[0])
	}
	if e.Deleted {
		s += " (the message was deleted)"
	}
	return s
}

func (e Entry) sentence() string {
	who := name(e.Actor)
	text := strings.Join(strings.Fields(e.Text), " ")
	with := func(s string) string {
		if text == "" {
			return s + "."
		}
		return s + ": " + text
	}
	switch e.Kind {
	case KindDeclared:
		s := fmt.Sprintf("%s declared it as %s", who, e.Data["severity"])
		if run := e.Data["run"]; run != "" {
			s += " because of " + run
		}
		if alert := e.Data["alert"]; alert != "" {
			s += " because of the alert " + alert
		}
		return with(s)
	case KindState:
		return with(fmt.Sprintf("%s: %s → %s", who, State(e.Data["from"]).Word(), State(e.Data["to"]).Word()))
	case KindReopened:
		return with(who + " reopened it")
	case KindCanceled:
		return with(who + " canceled it")
	case KindMerged:
		return fmt.Sprintf("%s merged it into %s.", who, e.Data["into"])
	case KindTaken:
		return with(fmt.Sprintf("%s merged %s into it", who, e.Data["other"]))
	case KindSeverity:
		return with(fmt.Sprintf("%s: %s → %s, %s", who, e.Data["from"], e.Data["to"], Severity(e.Data["to"]).Word()))
	case KindAssessed:
		var parts []string
		for _, k := range [][2]string{{"down", "down: "}, {"affected", "users affected: "}, {"impact", "impact: "}, {"started", "it began: "}} {
			v := e.Data[k[0]]
			if t, err := time.Parse(time.RFC3339, v); err == nil && k[0] == "started" {
				v = t.UTC().Format("2006-01-02 15:04 UTC")
			}
			if v != "" {
				parts = append(parts, k[1]+v)
			}
		}
		return who + " assessed it: " + strings.Join(parts, "; ")
	case KindFlag:
		return with(fmt.Sprintf("%s turned the security flag %s", who, e.Data["to"]))
	case KindRole:
		return e.role(who)
	case KindUpdate:
		s := fmt.Sprintf("%s told the %s", who, e.Data["audience"])
		if approver := e.Data["approver"]; approver != "" && approver != who {
			s += ", approved by " + approver
		}
		if late := e.Data["late"]; late != "" {
			s += " (" + late + " late)"
		}
		return with(s)
	case KindDraft:
		return with(who + " drafted an update to the users")
	case KindApproved:
		return who + " approved an update to the users."
	case KindRejected:
		return with(who + " rejected an update to the users")
	case KindPublished:
		return strings.TrimSpace(fmt.Sprintf("The update was published in %s. %s", e.Data["place"], e.Data["link"]))
	case KindFailed:
		return with("The update could not be published in " + e.Data["place"])
	case KindNudge:
		return e.nudged()
	case KindSnooze:
		return fmt.Sprintf("%s snoozed the %s' clock for %s.", who, e.Data["audience"], text)
	case KindNote, KindMessage:
		return who + ": " + text
	case KindTask:
		s := fmt.Sprintf("Task %s, by %s", e.Data["number"], who)
		if owner := e.Data["user"]; owner != "" {
			s += ", for " + orElse(e.Data["name"], owner)
		}
		if due := e.Data["due"]; due != "" {
			s += ", due " + due
		}
		return with(s)
	case KindDone:
		return with(fmt.Sprintf("%s finished task %s", who, e.Data["number"]))
	case KindRoom:
		if e.Data["failed"] != "" {
			return "Its channel could not be made: " + text + "."
		}
		switch e.Data["archived"] {
		case "own":
			return who + " archived its channel; it goes on in the thread."
		case "home":
			return who + " archived the channel of its thread."
		}
		return "It got a channel of its own."
	case KindTime:
		return strings.TrimSpace(correction(who, e.Data["which"], e.Data["was"], e.Data["is"]) + " " + text)
	case KindRun, KindAlert:
		return text
	}
	return with(who)
}

// correction says what was put right; a summary is somebody's words.
func correction(who, which, was, is string) string {
	if which == theSummary {
		was, is = fmt.Sprintf("%q", was), fmt.Sprintf("%q", is)
	}
	return fmt.Sprintf("%s corrected %s: %s instead of %s.", who, which, is, orElse(was, "nothing"))
}

func (e Entry) role(who string) string {
	role := RoleKind(e.Data["role"])
	whom := orElse(e.Data["name"], e.Data["user"])
	switch e.Text {
	case "accepted":
		return fmt.Sprintf("%s is %s.", whom, role.Word())
	case "asked":
		return fmt.Sprintf("%s asked %s to be %s.", who, whom, role.Word())
	case "called":
		if tag := e.Data["tag"]; tag != "" {
			return fmt.Sprintf("%s asked %s for help (%s).", who, e.Data["group"], tag)
		}
		return fmt.Sprintf("%s asked %s for help.", who, e.Data["group"])
	case "left":
		return fmt.Sprintf("%s left (%s).", whom, e.Data["role"])
	}
	s := fmt.Sprintf("%s added %s as %s", who, whom, role.Word())
	if e.Actor.ID == e.Data["user"] {
		s = fmt.Sprintf("%s came as %s", who, role.Word())
	}
	if tag := e.Data["tag"]; tag != "" {
		s += " (" + tag + ")"
	}
	return s + "."
}

func (e Entry) nudged() string {
	switch of := e.Data["of"]; {
	case of == forPostmortem:
		return "The post-mortem was due."
	case of == forChannel:
		return "The thread had become too narrow; a channel was offered."
	case of == string(ForDraft):
		return "The last update to the users waited for approval."
	case of == string(ForBudget):
		return fmt.Sprintf("%s takes longer than planned.", State(e.Data["state"]).Word())
	case of != "" && e.Data["escalated"] != "":
		return fmt.Sprintf("Still nobody had accepted to be %s; those who are to be called were called.", RoleKind(of).Word())
	case of != "":
		return fmt.Sprintf("Nobody had accepted to be %s.", RoleKind(of).Word())
	}
	due := ""
	if t, err := time.Parse(time.RFC3339, e.Data["due"]); err == nil {
		due = ", since " + t.UTC().Format("15:04 UTC")
	}
	return fmt.Sprintf("An update to the %s was due%s.", e.Data["audience"], due)
}
