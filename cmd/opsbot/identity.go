package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"

	"opsbot/internal/access"
)

// identities maps accounts of this machine to people.
type identities struct {
	team string            // Slack team id, as far as it is known
	unix map[string]string // account → user id
}

// actor returns the person behind an account, or the reason why it may only look.
func (i identities) actor(uid int) (access.Actor, string) {
	account := strconv.Itoa(uid)
	if u, err := user.LookupId(account); err == nil {
		account = u.Username
	}
	id, ok := i.unix[account]
	if !ok {
		return access.Actor{}, fmt.Sprintf("The account %q may look but not act: it has no row under identities.unix in the configuration.", account)
	}
	return access.Actor{Kind: access.Person, Team: i.team, ID: id, Name: account, Via: "terminal"}, ""
}

// self is the person who runs this process.
func (i identities) self() (access.Actor, string) { return i.actor(os.Getuid()) }
