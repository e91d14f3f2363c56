package standin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// caller identifies the owner of a token. Project is "" for a dashboard login.
type caller struct {
	UserID  int
	Project string // as written in the token
}

var errToken = errors.New("Invalid token, please login again")

func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || (scheme != "Bearer" && scheme != "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// verify checks a token as SyncFlow does: the claims determine the kind of token, a project token
// names its key and its project, and a token with an audience is refused because the server expects
// none.
func (s *Server) verify(token string) (caller, error) {
	claims := map[string]any{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithJSONNumber(),
		jwt.WithoutClaimsValidation())
	var who caller
	_, err := parser.ParseWithClaims(token, jwt.MapClaims(claims), func(*jwt.Token) (any, error) {
		secret, c, err := s.keyFor(claims)
		who = c
		return secret, err
	})
	if err != nil {
		return caller{}, errToken
	}
	exp, ok := wholeNumber(claims["exp"])
	_, iat := wholeNumber(claims["iat"])
	if !ok || !iat || exp < time.Now().Unix() {
		return caller{}, errToken
	}
	if _, aud := claims["aud"]; aud {
		return caller{}, errToken
	}
	return who, nil
}

func (s *Server) keyFor(claims map[string]any) (any, caller, error) {
	_, login := claims["loginSession"]
	if id, ok := wholeNumber(claims["userId"]); ok && login {
		for _, u := range s.cfg.Users {
			if int64(u.ID) == id {
				return []byte(s.cfg.LoginSecret), caller{UserID: u.ID}, nil
			}
		}
		return nil, caller{}, errToken
	}
	if login || claims["userName"] != nil || claims["userId"] != nil {
		return nil, caller{}, errToken
	}
	iss, _ := claims["iss"].(string)
	named, _ := claims["projectId"].(string)
	id, err := uuid.Parse(named)
	if err != nil {
		return nil, caller{}, errToken
	}
	for _, p := range s.cfg.Projects {
		for _, k := range p.Keys {
			if p.ID == id.String() && k.Key == iss {
				return []byte(k.Secret), caller{UserID: p.UserID, Project: named}, nil
			}
		}
	}
	return nil, caller{}, errToken
}

// wholeNumber accepts the values of Rust's usize: it refuses 1.0 and "1".
func wholeNumber(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil && i >= 0
}

// login handles the dashboard's login. Its request is in snake case, unlike all others.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name     string `json:"username_or_email"`
		Password string `json:"password"`
	}
	if !decode(w, r, []field{{"username_or_email", isString, true}, {"password", isString, true}},
		&in) {
		return
	}
	s.query()
	for _, u := range s.cfg.Users {
		if u.Name != in.Name || u.Password != in.Password {
			continue
		}
		now := time.Now()
		t, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"userId": u.ID, "userName": u.Name, "loginSession": uuid.NewString(), "iat": now.Unix(),
			"exp": now.Add(time.Hour).Unix(),
		}).SignedString([]byte(s.cfg.LoginSecret))
		if err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		reply(w, map[string]string{"accessToken": t, "refreshToken": "", "tokenType": "Bearer"})
		return
	}
	fail(w, http.StatusUnauthorized, "Invalid username or password")
}

func (s *Server) project(id string) (Project, bool) {
	for _, p := range s.cfg.Projects {
		if p.ID == id {
			return p, true
		}
	}
	return Project{}, false
}
