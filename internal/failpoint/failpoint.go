// Package failpoint lets a test end the process at a named place of the
// program, as a power cut would: no deferred call, no signal handler runs.
//
// In a normal build Hit is empty. With the build tag failpoints, the
// environment variable TOKENS_FAILPOINT names the place: "name" for the first
// time that the program comes by, "name:n" for the n-th.
package failpoint
