package docker

import "opsbot/runbooks"

// Actions returns the actions of this package. Each has a file of its own.
func Actions() []runbooks.Action {
	return []runbooks.Action{
		info{},
		ps{},
		logs{},
		stats{},
		disk{},
		env{},
		images{},
		evidence{},
		probe{},
		execute{},
		start{},
		stop{},
		restart{},
		pull{},
		run{},
		remove{},
		composeConfig{},
		composeUp{},
		composeStart{},
		composeScale{},
		composeDown{},
		nginxSwitch{},
	}
}
