package adaptertest

import (
	"context"

	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/broadcast/cluster"
)

// Voiceless is an adapter whose format has no events between servers.
type Voiceless struct{ *cluster.Adapter }

// Join joins a namespace.
func (v Voiceless) Join(local broadcast.Local) (broadcast.Remote, error) {
	r, err := v.Adapter.Join(local)
	return voicelessRemote{r}, err
}

type voicelessRemote struct{ broadcast.Remote }

func (voicelessRemote) ServerEvent(broadcast.Payload) error { return broadcast.ErrUnsupported }

func (voicelessRemote) CallServers(context.Context, broadcast.Payload) ([]broadcast.Payload, error) {
	return nil, broadcast.ErrUnsupported
}
