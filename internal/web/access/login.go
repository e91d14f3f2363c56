package access

import "net/url"

// loginPath is the path of the login page that leads back to next.
func loginPath(next string) string {
	if next == "" || next == "/" {
		return "/login"
	}
	return "/login?" + url.Values{"next": {next}}.Encode()
}
