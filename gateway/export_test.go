package gateway

// TableRow is what tests may see of one route.
type TableRow struct {
	Method, Path string
	Public       bool
}

// Table is the table from which everything that is served is registered.
func (g *Gateway) Table() (rows []TableRow) {
	for _, r := range g.routes() {
		rows = append(rows, TableRow{r.method, r.path, r.public})
	}
	return rows
}
