package compose

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// A patient has a row of ports on loopback: first the API's replicas', then
// one for each server, and that of a green instance.
const (
	maxReplicas = 8
	servers     = 5
)

// freePorts finds the first of a row of ports that were free a moment ago. They
// are fixed, because a container that is started again would otherwise get
// another one; and below those that systems give to outgoing connections, so
// that they stay free until then.
func freePorts() (first int, err error) {
	const row = maxReplicas + servers
	for range 200 {
		first = 20000 + rand.IntN(10000/row)*row
		if free(first, row) {
			return first, nil
		}
	}
	return 0, errors.New("no free row of ports between 20000 and 30000")
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
