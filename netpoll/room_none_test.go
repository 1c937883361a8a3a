//go:build !unix

package netpoll_test

import "errors"

func setRoom(uintptr, int) error { return errors.ErrUnsupported }
