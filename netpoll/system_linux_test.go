package netpoll

// What TestUnsentUnread and TestSystemAllocs ask of this system.
const (
	tellsUnsent      = true
	allocatesNothing = true
)
