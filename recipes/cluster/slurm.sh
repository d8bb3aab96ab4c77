#!/bin/bash
# One run on all GPUs of several machines; a job that is cut goes on when it is submitted again.
#   sbatch recipes/cluster/slurm.sh recipes/adapt/tooncrafter.yaml runs/tooncrafter-show
# optim.batch_size of the recipe is the batch of all GPUs together.
#SBATCH --job-name=nakawari
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@300
set -euo pipefail

export RECIPE=$1 RUN=$2 GPUS=${GPUS_PER_NODE:-4}
export HEAD_NODE
HEAD_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RESUME=
if compgen -G "$RUN/checkpoints/step-*" > /dev/null; then RESUME=--resume; fi

# Single quotes: each machine puts in its own SLURM_NODEID.
srun bash -c 'accelerate launch --multi_gpu \
    --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID" \
    --num_processes "$((SLURM_NNODES * GPUS))" \
    --main_process_ip "$HEAD_NODE" --main_process_port 29500 \
    -m nakawari adapt "$RECIPE" -o "$RUN" $RESUME'
