import type { ReactNode } from "react";

/** A table that scrolls by itself where it is wider than the window. Numbers are aligned by `num`. */
export function Table(props: { label: string; head: ReactNode[]; children: ReactNode }) {
  const { label, head, children } = props;
  return (
    <div className="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((text, n) => (
              <th key={n} scope="col">
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
