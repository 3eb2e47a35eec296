package incidents

import (
	"slices"
	"strings"
	"time"

	"opsbot/internal/access"
)

// A RoleKind is what somebody does in an incident.
type RoleKind string

const (
	Commander RoleKind = "commander" // decides; one at a time
	Comms     RoleKind = "comms"     // tells everybody else; one at a time, keeps both clocks
	Responder RoleKind = "responder" // works on it
	Observer  RoleKind = "observer"  // wants to know
)

// A Role is one person's part in an incident. Commander and Comms are taken
// by acceptance: until then the former holder keeps them.
type Role struct {
	Kind     RoleKind
	Actor    access.Actor
	Tag      string // of a responder: backend, dba, devops …
	Since    time.Time
	Accepted time.Time // zero: was only asked, or acts until somebody accepts
	Acting   bool      // the declarer, as long as nobody has accepted command
}

// Word says a role for people.
func (k RoleKind) Word() string {
	switch k {
	case Commander:
		return "commander"
	case Comms:
		return "communications lead"
	}
	return string(k)
}

// Exclusive reports whether one person at a time has it.
func (k RoleKind) Exclusive() bool { return k == Commander || k == Comms }

// take gives an exclusive role to the actor, who accepts it. It returns the
// event and who had it before, nil if nobody else had.
func (i *Incident) take(kind RoleKind, a access.Actor, rules Rules, now time.Time) (Event, *access.Actor, error) {
	if i.State.Over() {
		return Event{}, nil, refuse("%s is %s; it needs no %s.", i.Ref(), strings.ToLower(i.State.Word()), kind.Word())
	}
	var former *access.Actor
	for _, r := range i.Roles {
		if r.Kind != kind || r.Accepted.IsZero() && !r.Acting {
			continue
		}
		if r.Actor.Same(a) && !r.Accepted.IsZero() {
			return Event{}, nil, refuse("You are %s of %s already.", kind.Word(), i.Ref())
		}
		if !r.Actor.Same(a) {
			former = &r.Actor
		}
	}
	i.Roles = slices.DeleteFunc(i.Roles, func(r Role) bool { return r.Kind == kind })
	i.Roles = append(i.Roles, Role{Kind: kind, Actor: a, Since: now, Accepted: now})
	if kind == Commander && i.Acknowledged.IsZero() {
		i.Acknowledged = now
	}
	i.wind(rules, now)
	e := Event{Kind: KindRole, Text: "accepted", Data: map[string]string{"role": string(kind), "user": a.ID, "name": name(a)}}
	if former != nil {
		e.Data["former"] = former.ID
	}
	return e, former, nil
}

// offer asks somebody to take an exclusive role.
func (i *Incident) offer(kind RoleKind, to access.Actor, now time.Time) (Event, error) {
	if i.State.Over() {
		return Event{}, refuse("%s is %s; it needs no %s.", i.Ref(), strings.ToLower(i.State.Word()), kind.Word())
	}
	for _, r := range i.Roles {
		if r.Kind == kind && r.Actor.Same(to) && !r.Acting {
			if r.Accepted.IsZero() {
				return Event{}, refuse("They were asked already, and have not answered.")
			}
			return Event{}, refuse("They are %s already.", kind.Word())
		}
	}
	i.Roles = slices.DeleteFunc(i.Roles, func(r Role) bool { return r.Kind == kind && r.Accepted.IsZero() && !r.Acting })
	i.Roles = append(i.Roles, Role{Kind: kind, Actor: to, Since: now})
	return Event{Kind: KindRole, Text: "asked", Data: map[string]string{"role": string(kind), "user": to.ID, "name": name(to)}}, nil
}

// add makes somebody a responder, or another one's tag anew; or an observer.
func (i *Incident) add(kind RoleKind, a access.Actor, tag string, now time.Time) (Event, error) {
	if i.State.Over() {
		return Event{}, refuse("%s is %s; nobody is needed any more.", i.Ref(), strings.ToLower(i.State.Word()))
	}
	if n := len(i.Roles); n >= maxRoles {
		return Event{}, refuse("%s has %d people with roles, which is the most.", i.Ref(), n)
	}
	at := slices.IndexFunc(i.Roles, func(r Role) bool { return r.Kind == kind && r.Actor.Same(a) })
	switch {
	case at >= 0 && i.Roles[at].Tag == tag:
		return Event{}, refuse("They are %s already.", kind.Word())
	case at >= 0:
		i.Roles[at].Tag = tag
	default:
		i.Roles = append(i.Roles, Role{Kind: kind, Actor: a, Tag: tag, Since: now, Accepted: now})
	}
	return Event{Kind: KindRole, Text: "added", Data: map[string]string{"role": string(kind), "user": a.ID, "name": name(a), "tag": tag}}, nil
}

// maxRoles bounds the people with roles in one incident.
const maxRoles = 100

// leave takes all roles from the actor. It returns which.
func (i *Incident) leave(a access.Actor, rules Rules, now time.Time) (Event, []RoleKind, error) {
	var had []RoleKind
	i.Roles = slices.DeleteFunc(i.Roles, func(r Role) bool {
		if !r.Actor.Same(a) {
			return false
		}
		had = append(had, r.Kind)
		return true
	})
	if len(had) == 0 {
		return Event{}, nil, refuse("You have no role in %s.", i.Ref())
	}
	i.wind(rules, now)
	words := make([]string, len(had))
	for n, k := range had {
		words[n] = string(k)
	}
	return Event{Kind: KindRole, Text: "left", Data: map[string]string{"role": strings.Join(words, ", "), "user": a.ID, "name": name(a)}}, had, nil
}
