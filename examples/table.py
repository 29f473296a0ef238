"""Train on a table in a frame, and look at what came out.

python examples/table.py
"""

from __future__ import annotations

from sklearn.datasets import load_wine

import trainwell as tw


def main() -> tw.Run:
    frame = load_wine(as_frame=True).frame
    frame["alcohol"] = frame["alcohol"].mask(frame.index % 10 == 0)  # missing cells are fine
    train, new = frame.iloc[::2], frame.iloc[1::2]

    run = tw.fit(train, target="target", preset="quick", seed=1, out=False)  # without out=False: in runs/
    print(run)
    for row in run.history[-3:]:
        print(
            f"epoch {row['epoch']}: train loss {row['train_loss']:.3f}, validation loss {row['val_loss']:.3f}"
        )
    print(f"boosting on the same split: test accuracy {run.baseline['test']['accuracy']:.4f}")

    right = (run.predict(new) == new["target"]).mean()
    print(
        f"{right:.1%} of {len(new)} new rows right; the first is {run.predict_proba(new.head(1)).round(3)[0]}"
    )
    return run


if __name__ == "__main__":
    main()
