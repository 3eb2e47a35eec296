package runbooks

import (
	"fmt"
	"time"
)

// gates reads confirm, review and recheck.
func (c *checker) gates(s *Step, b *node, in *names, known presence) {
	if n := b.get("confirm"); n != nil {
		s.Confirm = c.confirm(n, in)
	}
	if n := b.get("review"); n != nil {
		s.Review = c.review(n)
	}
	if n := b.get("recheck"); n != nil {
		items := []*node{n}
		if n.kind == listNode {
			items = n.items
		}
		for _, item := range items {
			if id := c.readStep(item, "recheck"); id != "" {
				s.Recheck = append(s.Recheck, id)
			}
		}
	}
}

func (c *checker) confirm(n *node, in *names) *Confirm {
	if n.kind != mapNode {
		return &Confirm{Text: c.textTemplate(n, in, "confirm")}
	}
	confirm := &Confirm{}
	c.fields(n, "confirm", "RB106", confirmForm.names(), func(f field) {
		t := c.textTemplate(f.value, in, f.key)
		if f.key == "text" {
			confirm.Text = t
		} else {
			confirm.Type = t
		}
	})
	if n.get("text") == nil {
		c.problem(n.pos, "RB106", "confirm needs text, a question", "")
	}
	return confirm
}

func (c *checker) review(n *node) *Review {
	r := &Review{Count: 1, Within: defaultWithin}
	c.fields(n, "review", "RB106", reviewForm.names(), func(f field) {
		switch f.key {
		case "by":
			r.By = c.groups(f.value, "a group")
		case "count":
			r.Count = c.integer(f.value, "count", 1, maxReview)
		case "within":
			r.Within = c.duration(f.value, "within")
			if r.Within != 0 && (r.Within < time.Minute || r.Within > 24*time.Hour) {
				c.problem(f.value.pos, "RB106", "within must be from 1m to 24h", "")
			}
		case "covers":
			items := []*node{f.value}
			if f.value.kind == listNode {
				items = f.value.items
			}
			for _, item := range items {
				id, ok := c.text(item, "covers")
				if !ok {
					continue
				}
				if at, ok := c.places[id]; !ok || at.section != Rollback {
					c.problem(item.pos, "RB219", fmt.Sprintf("covers: %s is not a step of ## Rollback", clip(id)), didYouMean(id, c.rollbackIDs()))
					continue
				}
				c.referred([]reference{{id, item.pos}})
				r.Covers = append(r.Covers, id)
			}
		}
	})
	return r
}

func (c *checker) rollbackIDs() []string {
	var list []string
	for _, id := range c.ids {
		if c.places[id].section == Rollback {
			list = append(list, id)
		}
	}
	return list
}
