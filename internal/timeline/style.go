package timeline

import _ "embed"

// CSS is the style sheet of the figure. It uses the custom properties --ink, --soft, --line,
// --hair, --card, --info, --info-bg and --bad.
//
//go:embed figure.css
var CSS string
