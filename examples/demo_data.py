"""Write scikit-learn's breast cancer data (569 rows, 30 numbers, two classes) as a CSV file.

python examples/demo_data.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer


def main(path: Path) -> None:
    data = load_breast_cancer(as_frame=True)
    frame = data.data.assign(diagnosis=data.target.map(lambda i: data.target_names[i]))
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
