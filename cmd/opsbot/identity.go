package main

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

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

// peerUID asks the kernel who is at the other end of a Unix socket.
func peerUID(conn net.Conn) (int, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("not a Unix socket: %T", conn)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}
