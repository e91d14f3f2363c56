package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"
)

// Sizes of pages. Clients of LiveKit's service do not request a second page, because a LiveKit
// server returns only one.
const (
	pageSize        = 100
	livekitPageSize = 1000
)

// list returns one page of the recordings that a filter selects. Pages go from the newest to the
// oldest recordings; within a page the newest is the last, which is what `lk egress list` expects.
func (a *API) list(ctx context.Context, f Filter, token *livekit.TokenPagination, size int) (
	*livekit.ListEgressResponse, error,
) {
	c := callerOf(ctx)
	if f.Room != "" && !c.mayUse(f.Room) {
		return nil, twirp.NewError(twirp.PermissionDenied,
			"the access token is for another room")
	}
	if f.Room == "" {
		f.Room = c.room
	}
	before, err := parseCursor(token.GetToken())
	if err != nil {
		return nil, err
	}
	items, err := a.recordings(ctx, f)
	if err != nil {
		return nil, err
	}
	if f.EgressID != "" && len(items) == 0 && !f.Active {
		return nil, unknown(f.EgressID)
	}
	slices.SortFunc(items, func(x, y *livekit.EgressInfo) int {
		return cursorOf(x).compare(cursorOf(y))
	})
	if before != nil {
		end, _ := slices.BinarySearchFunc(items, *before,
			func(e *livekit.EgressInfo, c cursor) int { return cursorOf(e).compare(c) })
		items = items[:end]
	}
	resp := &livekit.ListEgressResponse{Items: items}
	if older := len(items) - size; older > 0 {
		resp.Items = items[older:]
		resp.NextPageToken = &livekit.TokenPagination{Token: cursorOf(items[older]).String()}
	}
	return resp, nil
}

// recordings returns the caller's recordings that a filter selects.
func (a *API) recordings(ctx context.Context, f Filter) ([]*livekit.EgressInfo, error) {
	c := callerOf(ctx)
	var items []*livekit.EgressInfo
	for _, project := range c.projects {
		list, err := a.service.List(ctx, project, f)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if f.matches(e) && c.mayUse(e.GetRoomName()) {
				items = append(items, e)
			}
		}
	}
	return items, nil
}

// find returns a recording of the caller, and its project.
func (a *API) find(ctx context.Context, egressID string) (
	project string, e *livekit.EgressInfo, err error,
) {
	if egressID == "" {
		return "", nil, twirp.RequiredArgumentError("egress_id")
	}
	c := callerOf(ctx)
	f := Filter{EgressID: egressID}
	for _, project := range c.projects {
		list, err := a.service.List(ctx, project, f)
		if err != nil {
			return "", nil, err
		}
		for _, e := range list {
			if f.matches(e) && c.mayUse(e.GetRoomName()) {
				return project, e, nil
			}
		}
	}
	return "", nil, unknown(egressID)
}

// unknown is the answer for an egress id that is not visible to the caller. It does not reveal
// whether the recording exists.
func unknown(egressID string) error {
	return twirp.NewError(twirp.NotFound, "no recording "+strconv.Quote(egressID)+
		" on this instance with this access token")
}

// cursor is the position of a recording in the list.
type cursor struct {
	started  int64
	egressID string
}

func cursorOf(e *livekit.EgressInfo) cursor {
	return cursor{started: e.GetStartedAt(), egressID: e.GetEgressId()}
}

func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(c.started, d.started), cmp.Compare(c.egressID, d.egressID))
}

// String returns the cursor as a page token.
func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString(
		[]byte(strconv.FormatInt(c.started, 10) + " " + c.egressID))
}

// parseCursor parses a page token; nil: the newest page.
func parseCursor(token string) (*cursor, error) {
	if token == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	number, id, found := strings.Cut(string(text), " ")
	started, parseErr := strconv.ParseInt(number, 10, 64)
	if err != nil || parseErr != nil || !found {
		return nil, twirp.InvalidArgumentError("page_token", "is not one of next_page_token")
	}
	return &cursor{started: started, egressID: id}, nil
}
