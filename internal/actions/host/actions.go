package host

import "opsbot/runbooks"

// Actions returns the actions of this package. Each has a file of its own.
func Actions() []runbooks.Action {
	return []runbooks.Action{
		probe{},
		run{},
		latestBackup{},
		verifyDump{},
	}
}
