import type { ReactNode } from "react";
import { Table } from "./table.js";

export interface Column<Row> {
  title: string;
  cell: (row: Row) => ReactNode;
}

interface ColumnsProps<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
}

/** A table with one line for each row; the cells of the first column name the rows. */
export function Columns<Row>({ label, columns, rows, keyOf }: ColumnsProps<Row>) {
  return (
    <Table label={label} head={columns.map(({ title }) => title)}>
      {rows.map((row) => (
        <tr key={keyOf(row)}>
          {columns.map(({ title, cell }, n) =>
            n === 0 ? (
              <th key={title} scope="row">
                {cell(row)}
              </th>
            ) : (
              <td key={title}>{cell(row)}</td>
            ),
          )}
        </tr>
      ))}
    </Table>
  );
}
