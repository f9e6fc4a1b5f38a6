"""Start Dask workers as jobs of SLURM or PBS, for dfc-neuro sweep --scheduler ADDRESS.

python cluster.py slurm --jobs 20
python cluster.py pbs --jobs 20
"""

import argparse
import time

from dask_jobqueue import PBSCluster, SLURMCluster

# What your cluster wants; one run at a time in each job, on all of its cores.
JOB = {
    "cores": 4,
    "processes": 1,
    "memory": "8GB",
    "walltime": "04:00:00",
    "scheduler_options": {"dashboard_address": ":0"},
    "worker_extra_args": ["--nthreads", "1", "--lifetime", "225m", "--lifetime-stagger", "5m"],
}
SLURM = {"queue": None, "account": None, "job_cpu": JOB["cores"]}
PBS = {"queue": None, "account": None, "resource_spec": f"select=1:ncpus={JOB['cores']}:mem=8gb"}


def make(system):
    """Return the cluster; nothing is submitted yet."""
    return SLURMCluster(**JOB, **SLURM) if system == "slurm" else PBSCluster(**JOB, **PBS)


def main():
    """Keep some jobs alive until this is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=["slurm", "pbs"])
    parser.add_argument("--jobs", type=int, default=4, help="at most so many at a time")
    chosen = parser.parse_args()
    with make(chosen.system) as cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=chosen.jobs)
        print(cluster.scheduler_address, flush=True)
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main()
