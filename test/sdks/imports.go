//go:build snippets

package sdks

// The programs of the page are built by themselves, so go.mod would not know what
// they need.
import (
	_ "github.com/google/go-github/v89/github"
	_ "github.com/larksuite/oapi-sdk-go/v3"
	_ "github.com/larksuite/oapi-sdk-go/v3/service/im/v1"
	_ "github.com/silenceper/wechat/v2"
	_ "golang.org/x/oauth2"
	_ "google.golang.org/api/drive/v3"
)
