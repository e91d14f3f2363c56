package syncflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/syncflow/textegress/internal/backoff"
)

var deviceWord = regexp.MustCompile(`^[A-Za-z0-9_-]{1,50}$`)

// Devices lists the registered devices of the project, in no particular order.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	var raw []json.RawMessage
	if err := c.do(ctx, call{
		endpoint: "devices", method: http.MethodGet, path: "/devices",
		limit: listBodyLimit,
	}, &raw); err != nil {
		return nil, err
	}
	return elements(ctx, c, "devices", raw, func(d Device) bool { return d.ID != "" }), nil
}

// DeleteDevice removes one row. Without any row of a group, SyncFlow refuses to create sessions
// that name the group. ErrNotFound: there is no such row.
func (c *Client) DeleteDevice(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	var d Device
	return c.do(ctx, call{endpoint: "device_delete", method: http.MethodDelete, path: "/devices/" +
		id}, &d)
}

// EnsureDevice returns the row of the given name and group, and registers it if there is none. Name
// and group are 1 to 50 letters, digits, _ and -.
//
// The API never checks for duplicates, and it inserts the row before it contacts RabbitMQ: an
// answer of 500, or none, may still have created the row. A registration is therefore sent once. If
// its outcome is uncertain, the list is checked before it is sent again.
func (c *Client) EnsureDevice(ctx context.Context, name, group string) (Device, error) {
	if !deviceWord.MatchString(name) || !deviceWord.MatchString(group) {
		return Device{}, errors.New("SyncFlow API, register: name and group must be 1 to 50 " +
			"letters, digits, _ and -")
	}
	for try := 1; ; try++ {
		if d, ok, err := c.findDevice(ctx, name, group); err != nil || ok {
			return d, err
		}
		d, err := c.register(ctx, name, group)
		if err == nil {
			return d, nil
		}
		if a, ok := errors.AsType[*APIError](err); ok && !a.transient() ||
			errors.Is(err, errNoExchange) || ctx.Err() != nil {
			return Device{}, err
		}
		if try >= maxTries {
			return Device{}, fmt.Errorf("%w (gave up after %d tries)", err, try)
		}
		c.log.WarnContext(ctx, "registering with SyncFlow failed; checking whether it took effect",
			"try", try, "error", err)
		if err := backoff.Sleep(ctx, c.pauses.Delay(try)); err != nil {
			return Device{}, fmt.Errorf("SyncFlow API, register: %w", err)
		}
	}
}

var errNoExchange = errors.New("SyncFlow API, devices: the device's row does not say where " +
	"announcements are published")

// findDevice returns our row. If there are several, it returns the oldest, so that every start uses
// the same one.
func (c *Client) findDevice(ctx context.Context, name, group string) (Device, bool, error) {
	all, err := c.Devices(ctx)
	if err != nil {
		return Device{}, false, err
	}
	ours := slices.DeleteFunc(all, func(d Device) bool {
		return d.Name != name || d.Group != group
	})
	if len(ours) == 0 {
		return Device{}, false, nil
	}
	d := slices.MinFunc(ours, func(a, b Device) int {
		return cmp.Or(a.RegisteredAt.Compare(b.RegisteredAt.Time), cmp.Compare(a.ID, b.ID))
	})
	// registering again would only create more such rows
	if d.ExchangeName == "" || d.BindingKey == "" {
		return Device{}, false, errNoExchange
	}
	return d, true, nil
}

// probeName is the name of the device that [Client.Announces] registers temporarily.
const probeName = "text-egress-probe"

// stopPatience bounds how long the service, when it stops, waits for that device to be deleted.
const stopPatience = 2 * time.Second

// Announces reports whether SyncFlow's API can announce sessions. Its other answers do not show
// this: the API connects to the broker when it starts and never reconnects. Over that connection it
// binds a queue for each device that is registered, so Announces registers a device and deletes it
// again. The error states why sessions cannot be announced, or why this is unknown.
func (c *Client) Announces(ctx context.Context, group string) (bool, error) {
	_, err := c.register(ctx, probeName, group)
	// The API inserts the row first, so it exists after a failure too. A stop of the service waits
	// only briefly, because nothing is recorded until the next start; the next probe deletes a row
	// that is left.
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopPatience, cancel) })()
	if cerr := c.deleteAll(cleaning, probeName, group); cerr != nil {
		c.log.WarnContext(ctx, "cannot delete the device that was registered as a probe",
			"name", probeName, "group", group, "error", cerr)
	}
	return err == nil, err
}

// deleteAll deletes the devices of a name and group.
func (c *Client) deleteAll(ctx context.Context, name, group string) error {
	all, err := c.Devices(ctx)
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.Name != name || d.Group != group {
			continue
		}
		if err := c.DeleteDevice(ctx, d.ID); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

func (c *Client) register(ctx context.Context, name, group string) (Device, error) {
	body := struct {
		Name     string `json:"name"`
		Group    string `json:"group"`
		Comments string `json:"comments"`
	}{name, group, "records the data channels of sessions"}
	var d Device
	if err := c.do(ctx, call{
		endpoint: "register", method: http.MethodPost,
		path: "/devices/register", body: body, once: true,
	}, &d); err != nil {
		return Device{}, err
	}
	if d.ID == "" || d.ExchangeName == "" || d.BindingKey == "" {
		return Device{}, errNoExchange
	}
	return d, nil
}
