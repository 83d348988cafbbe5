package tokenstore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
)

// NodeID names this process among the nodes: the host's name, the process'
// number and something random, so that a number that the system gives again
// is another node. It is also for people, and stays the same as long as the
// process lives.
var NodeID = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(random[:]))
})
