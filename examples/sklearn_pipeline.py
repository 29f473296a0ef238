"""Use trainwell inside scikit-learn: a pipeline, a grid search over techniques, cross-validation.

python examples/sklearn_pipeline.py
"""

from __future__ import annotations

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import trainwell as tw


def main() -> GridSearchCV:
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

    scaled = make_pipeline(StandardScaler(), PCA(10, random_state=0))
    pipeline = make_pipeline(
        make_column_transformer((scaled, make_column_selector(dtype_include="number"))),
        tw.Classifier("quick", budget="8ep", random_state=0),
    )
    grid = {
        "classifier__settings": [{"lr": 1e-3}, {"lr": 1e-2}],
        "classifier__with_": [(), ("label_smoothing:amount=0.1",)],
    }
    search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(X_train, y_train)
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        print(f"log loss {-score:.4f}  {params}")
    print(f"best on the held-out rows: accuracy {search.best_estimator_.score(X_test, y_test):.3f}")
    return search


if __name__ == "__main__":
    main()
