//go:build !linux

package caddymodule

import "errors"

// protectMemory is for Linux alone.
func protectMemory() error { return errors.ErrUnsupported }
