// Package failpoint lets a test end the process at a named place of the
// program, as a power cut would: no deferred call, no signal handler runs.
//
// In a normal build Hit is empty. With the build tag failpoints, the
// environment variable TOKENS_FAILPOINT names the place: "name" for the first
// time that the program comes by, "name:n" for the n-th. A program that has to
// run for a while first reads the place from a file instead, each time that it
// comes by one: TOKENS_FAILPOINT_FILE is its path. "pause:name" in it removes
// the file and stops the process there with SIGSTOP, until it gets a SIGCONT.
package failpoint
