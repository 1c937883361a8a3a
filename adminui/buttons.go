package adminui

import (
	"github.com/sockeye-io/sockeye"
)

// registerButtons lets admins act: on the sockets of a room, on one by its ID, or on all of a
// namespace.
func (a *Admin) registerButtons() {
	a.remember(
		a.ns.On("emit", func(s *sockeye.Socket, e *sockeye.Event) error {
			var nsp, event string
			var filter *string
			if err := e.Decode(&nsp, &filter, &event); err != nil {
				return err
			}
			return a.act(s, "emit", nsp, filter, event, func(op sockeye.Operator) error { return op.Emit(event, e.Arguments()[3:]...) })
		}),
		a.ns.On("join", func(s *sockeye.Socket, nsp, room string, filter *string) error {
			return a.act(s, "join", nsp, filter, room, func(op sockeye.Operator) error { return op.Join(room) })
		}),
		a.ns.On("leave", func(s *sockeye.Socket, nsp, room string, filter *string) error {
			return a.act(s, "leave", nsp, filter, room, func(op sockeye.Operator) error { return op.Leave(room) })
		}),
		a.ns.On("_disconnect", func(s *sockeye.Socket, nsp string, closeSession bool, filter *string) error {
			return a.act(s, "disconnect", nsp, filter, "", func(op sockeye.Operator) error {
				if closeSession {
					return op.CloseSession()
				}
				return op.Disconnect()
			})
		}),
	)
}

// act does it in a namespace that there is: what admins send makes none.
func (a *Admin) act(s *sockeye.Socket, button, nsp string, filter *string, what string, do func(op sockeye.Operator) error) error {
	log := a.opts.Logger.With("admin", s.ID(), "button", button, "namespace", clip(nsp, maxNameBytes), "what", clip(what, maxNameBytes))
	var op sockeye.Operator
	found := false
	for _, ns := range a.srv.Namespaces() {
		if ns.Name() == nsp {
			op, found = ns.All(), true
		}
	}
	if !found {
		log.Warn("adminui: there is no such namespace")
		return &sockeye.AckError{Message: "there is no such namespace"}
	}
	if filter != nil && *filter != "" {
		op = op.To(*filter)
		log = log.With("filter", clip(*filter, maxNameBytes))
	}
	err := do(op)
	log.Info("adminui: a button was pressed", "err", err)
	return err
}
