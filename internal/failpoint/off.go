//go:build !failpoints

package failpoint

// Hit does nothing in this build, and costs nothing.
func Hit(string) {}
