package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in classes that are 6% wide or less.
type histogram struct {
	n       int
	classes [64 * classesPerOctave]int
	longest time.Duration
}

const (
	classBits        = 4
	classesPerOctave = 1 << classBits
)

func (h *histogram) add(d time.Duration) {
	h.n++
	h.classes[class(uint64(max(d, 0)))]++
	h.longest = max(h.longest, d)
}

// class is the power of two below v and the bits behind it.
func class(v uint64) int {
	octave := bits.Len64(v) - 1 - classBits
	if octave < 0 {
		return int(v)
	}
	return (octave+1)<<classBits + int(v>>octave)&(classesPerOctave-1)
}

// floor is the least duration of a class.
func floor(class int) time.Duration {
	octave := class>>classBits - 1
	if octave < 0 {
		return time.Duration(class)
	}
	return time.Duration((classesPerOctave | class&(classesPerOctave-1)) << octave)
}

// merge adds what another one counted.
func (h *histogram) merge(other *histogram) {
	h.n += other.n
	for i, n := range other.classes {
		h.classes[i] += n
	}
	h.longest = max(h.longest, other.longest)
}

// quantile is the duration that a share q of all does not exceed; 0 where
// there is none.
func (h *histogram) quantile(q float64) time.Duration {
	left := int(q * float64(h.n))
	for class, n := range h.classes {
		if left -= n; left < 0 {
			return floor(class)
		}
	}
	return h.longest
}
