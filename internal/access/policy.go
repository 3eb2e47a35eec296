package access

import (
	"context"
	"slices"
	"strings"

	"opsbot/internal/fault"
)

// A Group is a named set of people of the configuration: the members of a
// Slack user group, users listed by id, or both.
type Group struct {
	Usergroup string   // handle; "" for none
	Users     []string // user ids
}

// A Floor says how many reviewers a destructive step needs at least; runbooks
// may only ask for more. Zero means that the starter's typed confirm is enough.
type Floor struct {
	Destructive         int
	DestructiveCritical int // in a critical environment
}

// A Policy says who belongs to which group and what they must agree on. It is
// a value, swapped whole when the configuration is read again.
type Policy struct {
	Groups map[string]Group
	Review *Floor // nil: one reviewer, two in a critical environment
	// Approvers, if there are any, are groups of which a reviewer must be in one
	// besides those that the runbook names.
	Approvers []string
	Glass     *Glass // nil: nobody may go on without review
}

// A Glass is to be broken: its group may go on without the reviewers whose word
// is missing.
type Glass struct {
	By      string // group
	Channel string // where it is told, and followed up; "": the ops channel
}

// Reviewers returns how many people besides the starter must approve a
// destructive step.
func (p Policy) Reviewers(critical bool) int {
	floor := Floor{Destructive: 1, DestructiveCritical: 2}
	if p.Review != nil {
		floor = *p.Review
	}
	if critical {
		return max(floor.Destructive, floor.DestructiveCritical)
	}
	return floor.Destructive
}

// Fit says whether the actor may decide anything at all: a full member of this
// workspace, and a person. It returns nil, a *fault.Error of kind Forbidden
// that says why not, or the directory's error.
func (p Policy) Fit(ctx context.Context, people Directory, actor Actor) error {
	if actor.Kind != Person || actor.ID == "" {
		return fault.New(fault.Forbidden, "Only people may do this.")
	}
	s, err := people.Standing(ctx, actor.ID)
	if err != nil {
		return err
	}
	switch {
	case s.Deactivated:
		return fault.New(fault.Forbidden, "This account is deactivated: it may not run or decide anything.")
	case s.Bot:
		return fault.New(fault.Forbidden, "Bots may not run or decide anything.")
	case s.Stranger:
		return fault.New(fault.Forbidden, "People from other workspaces may not run or decide anything here.")
	case s.Guest:
		return fault.New(fault.Forbidden, "Guests may not run or decide anything.")
	}
	return nil
}

// May says whether the actor belongs to one of the groups and is fit to act.
// It returns nil, a *fault.Error of kind Forbidden that names the groups, or a
// *fault.Error of kind Unavailable when nobody can tell: then nobody may.
func (p Policy) May(ctx context.Context, people Directory, actor Actor, groups ...string) error {
	if err := p.Fit(ctx, people, actor); err != nil {
		return err
	}
	var unclear error
	for _, name := range groups {
		in, err := p.in(ctx, people, actor.ID, name)
		if in {
			return nil
		}
		if err != nil {
			unclear = err
		}
	}
	if unclear != nil {
		return unclear
	}
	if len(groups) == 0 {
		return fault.New(fault.Forbidden, "Nobody is allowed to do this: no group is named for it.")
	}
	return fault.New(fault.Forbidden, "You are not in %s.", either(groups))
}

// MayReview is May, for those who approve what others do.
func (p Policy) MayReview(ctx context.Context, people Directory, actor Actor, groups ...string) error {
	err := p.May(ctx, people, actor, groups...)
	if err == nil && len(p.Approvers) > 0 {
		err = p.May(ctx, people, actor, p.Approvers...)
	}
	return err
}

// Reviewing returns those who MayReview, as Members does.
func (p Policy) Reviewing(ctx context.Context, people Directory, groups ...string) ([]string, error) {
	ids, err := p.Members(ctx, people, groups...)
	if err != nil || len(p.Approvers) == 0 {
		return ids, err
	}
	allowed, err := p.Members(ctx, people, p.Approvers...)
	return slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(allowed, id) }), err
}

func (p Policy) in(ctx context.Context, people Directory, user, group string) (bool, error) {
	g, ok := p.Groups[group]
	if !ok {
		return false, nil
	}
	if slices.Contains(g.Users, user) {
		return true, nil
	}
	if g.Usergroup == "" {
		return false, nil
	}
	ids, err := members(ctx, people, g.Usergroup)
	return slices.Contains(ids, user), err
}

// members are those of a user group; one that the workspace does not have is empty.
func members(ctx context.Context, people Directory, usergroup string) ([]string, error) {
	ids, err := people.Members(ctx, usergroup)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return ids, err
}

// Members returns the ids of everybody in the groups who is fit to decide,
// sorted. An unknown group is empty.
func (p Policy) Members(ctx context.Context, people Directory, groups ...string) ([]string, error) {
	var ids []string
	for _, name := range groups {
		g := p.Groups[name]
		ids = append(ids, g.Users...)
		if g.Usergroup == "" {
			continue
		}
		more, err := members(ctx, people, g.Usergroup)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	slices.Sort(ids)
	var fit []string
	for _, id := range slices.Compact(ids) {
		switch err := p.Fit(ctx, people, Actor{Kind: Person, ID: id}); fault.KindOf(err) {
		case "":
			fit = append(fit, id)
		case fault.Forbidden, fault.NotFound:
		default:
			return nil, err
		}
	}
	return fit, nil
}

// either joins group names as people read them, each once: "oncall, sre or dba".
func either(groups []string) string {
	var names []string
	for _, g := range groups {
		if !slices.Contains(names, g) {
			names = append(names, g)
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
