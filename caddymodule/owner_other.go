//go:build !unix

package caddymodule

import "os"

// fileOwner is the user to whom a file belongs. Windows has no such number, and
// keeps each user's files apart by itself.
type fileOwner struct{}

func ownerOf(os.FileInfo) fileOwner { return fileOwner{} }

// ownUser is whoever runs this process.
func ownUser() fileOwner { return fileOwner{} }

// isRunning cannot be told by the number alone here.
func isRunning(pid int) bool { return pid > 0 }
