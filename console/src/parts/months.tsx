import type { UsageView } from "@comfyline/client";
import { duration } from "../format.js";
import { useLanguage, useTexts } from "../texts/index.js";
import { Table } from "./table.js";

type Month = NonNullable<UsageView["months"]>[number];

const HEIGHT = 100;
const SLOT = 20;
const BAR = 14;

/** What each month has used: a chart for the eye, and a table for everybody. */
export function Months({ months }: { months: Month[] }) {
  const texts = useTexts();
  const language = useLanguage();
  const most = Math.max(...months.map((month) => month.gpu_seconds));
  return (
    <section>
      <h2>{texts.byMonth}</h2>
      {most > 0 && <Chart months={months} most={most} />}
      <Table label={texts.byMonth} head={[texts.month, texts.gpuTime, texts.endedJobs]}>
        {months.toReversed().map((month) => (
          <tr key={month.month}>
            <th scope="row">{nameOf(month, language, "long")}</th>
            <td>{duration(month.gpu_seconds, language)}</td>
            <td>{new Intl.NumberFormat(language).format(month.jobs)}</td>
          </tr>
        ))}
      </Table>
      <p className="muted">{texts.monthsHint}</p>
    </section>
  );
}

/** The bars are drawn in units of their own and stretched, and the labels are text of the page. */
function Chart({ months, most }: { months: Month[]; most: number }) {
  const texts = useTexts();
  const language = useLanguage();
  return (
    <figure className="chart">
      <figcaption className="muted">
        {texts.gpuTime} · {texts.peak(duration(most, language))}
      </figcaption>
      <svg
        viewBox={`0 0 ${months.length * SLOT} ${HEIGHT}`}
        preserveAspectRatio="none"
        aria-hidden="true"
      >
        {months.map((month, n) => {
          const height = Math.max((month.gpu_seconds / most) * HEIGHT, month.gpu_seconds ? 1 : 0);
          return (
            <rect
              key={month.month}
              x={n * SLOT + (SLOT - BAR) / 2}
              y={HEIGHT - height}
              width={BAR}
              height={height}
            >
              <title>{`${nameOf(month, language, "long")}: ${duration(month.gpu_seconds, language)}`}</title>
            </rect>
          );
        })}
      </svg>
      <div className="chart-labels muted" aria-hidden="true">
        {months.map((month) => (
          <span key={month.month}>
            <span className="wide">{nameOf(month, language, "short")}</span>
            <span className="slim">{nameOf(month, language, "narrow")}</span>
          </span>
        ))}
      </div>
    </figure>
  );
}

function nameOf({ month }: Month, language: string, length: "long" | "short" | "narrow"): string {
  const year = length === "long" ? ({ year: "numeric" } as const) : {};
  return new Intl.DateTimeFormat(language, { month: length, timeZone: "UTC", ...year }).format(
    new Date(`${month}-01T00:00:00Z`),
  );
}
