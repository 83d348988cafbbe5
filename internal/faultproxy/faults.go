package faultproxy

import "time"

// Faults are what is wrong with the network now. The zero value: nothing.
type Faults struct {
	// Cut resets all connections and refuses new ones: a partition that is
	// noticed at once.
	Cut bool
	// Blackhole is a partition that says nothing: connections are accepted and
	// lead nowhere, and those that are open stall both ways. Nothing is lost by
	// it: as with TCP, what was sent meanwhile arrives once it is over, unless
	// somebody has given up.
	Blackhole bool
	// Up is the way from the client to the target, Down the way back.
	Up, Down Way
}

// Way is one direction of every connection.
type Way struct {
	// Latency is how long each byte is under way.
	Latency time.Duration
	// Bandwidth in bytes per second; 0 for no limit.
	Bandwidth int
	// Stall lets nothing pass, as Blackhole does, in this direction only.
	Stall bool
	// Reset resets the connection instead of letting a byte pass beyond the
	// first After. With After 0 the whole of an answer is lost.
	Reset bool
	// Close ends this direction after After bytes, at once where they have
	// passed already: the receiver reads the end, and the other direction goes
	// on. What is sent this way later is lost.
	Close bool
	// After counts the bytes of each connection in this direction that passed
	// since Set.
	After int
}

// allows is how many of n bytes may pass after those that have passed, in one
// piece: with a Bandwidth, what it lets through in 20 ms.
func (w Way) allows(passed, n int) int {
	if w.Bandwidth > 0 {
		n = min(n, max(1, w.Bandwidth/50))
	}
	if w.Reset || w.Close {
		n = max(0, min(n, w.After-passed))
	}
	return n
}

// takes is how long n bytes occupy the line.
func (w Way) takes(n int) time.Duration {
	if w.Bandwidth == 0 {
		return 0
	}
	return time.Duration(n) * time.Second / time.Duration(w.Bandwidth)
}
