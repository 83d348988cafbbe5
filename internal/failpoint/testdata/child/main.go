// Command child comes by a failpoint three times and says so each time.
package main

import (
	"fmt"

	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
)

func main() {
	defer fmt.Println("deferred")
	for i := range 3 {
		failpoint.Hit("other")
		failpoint.Hit("here")
		fmt.Println(i + 1)
	}
}
