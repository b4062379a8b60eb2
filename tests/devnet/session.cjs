// A viem session as a dApp would have it: deploy, trade, read. argv: url, artifacts folder.
const fs = require('fs')
const viem = require('viem')
const { privateKeyToAccount } = require('viem/accounts')
const { foundry } = require('viem/chains')

const [url, folder] = process.argv.slice(2)
const abi = (name) => JSON.parse(fs.readFileSync(`${folder}/${name}.json`)).abi
const KEY = '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d'

const OTHER = '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a'

async function main() {
  const deployment = await (await fetch(`${url}/deployment`)).json()
  const transport = viem.http(url)
  const reader = viem.createPublicClient({ chain: foundry, transport, pollingInterval: 20 })
  const account = privateKeyToAccount(KEY)
  const signer = viem.createWalletClient({ account, chain: foundry, transport })
  const tester = viem.createTestClient({ mode: 'anvil', chain: foundry, transport })

  const send = async (request, from = signer) => {
    const hash = await from.writeContract(request)
    const receipt = await reader.waitForTransactionReceipt({ hash })
    if (receipt.status !== 'success') throw new Error(`${request.functionName} failed`)
    return receipt
  }

  const artifact = JSON.parse(fs.readFileSync(`${folder}/Token.json`))
  const created = await signer.deployContract({
    abi: artifact.abi, bytecode: artifact.bytecode, args: ['Viem', 'VIEM', 6],
  })
  const { contractAddress } = await reader.waitForTransactionReceipt({ hash: created })
  const symbol = await reader.readContract({
    address: contractAddress, abi: artifact.abi, functionName: 'symbol',
  })

  const book = deployment.markets[0].order_book
  const balances = deployment.contracts.balance_manager
  const weth = Object.keys(deployment.tokens)[0]
  const amount = 10n ** 19n
  const token = { address: weth, abi: abi('Token') }
  await send({ ...token, functionName: 'faucet', args: [account.address, amount] })
  await send({ ...token, functionName: 'approve', args: [balances, amount] })
  const manager = { address: balances, abi: abi('BalanceManager') }
  await send({ ...manager, functionName: 'deposit', args: [weth, amount] })
  const orders = { address: book, abi: abi('OrderBook') }
  const placed = await send({
    ...orders, functionName: 'placeLimit', args: [1, 2_500_000_000n, 10n ** 18n, 0, 0],
  })
  const events = viem.parseEventLogs({ abi: orders.abi, logs: placed.logs })
  const best = await reader.readContract({ ...orders, functionName: 'bestPrice', args: [1] })

  // somebody else takes two fifths of it
  const other = privateKeyToAccount(OTHER)
  const taker = viem.createWalletClient({ account: other, chain: foundry, transport })
  const [, , usdc] = Object.keys(deployment.tokens)
  const quote = { address: usdc, abi: abi('Token') }
  await send({ ...quote, functionName: 'faucet', args: [other.address, 10n ** 10n] }, taker)
  await send({ ...quote, functionName: 'approve', args: [balances, 10n ** 10n] }, taker)
  await send({ ...manager, functionName: 'deposit', args: [usdc, 10n ** 10n] }, taker)
  const taken = await send({
    ...orders, functionName: 'placeLimit', args: [0, 2_500_000_000n, 4n * 10n ** 17n, 0, 0],
  }, taker)
  const [match] = viem.parseEventLogs({
    abi: orders.abi, logs: taken.logs, eventName: 'OrderMatched',
  })
  const rest = await reader.readContract({ ...orders, functionName: 'bestPrice', args: [1] })

  let refused = ''
  try {
    await reader.simulateContract({ ...orders, account, functionName: 'cancel', args: [999] })
  } catch (error) {
    refused = error.walk((e) => e.data?.errorName)?.data?.errorName
  }
  const before = await reader.getBlockNumber()
  const snapshot = await tester.snapshot()
  await tester.mine({ blocks: 3 })
  await tester.revert({ id: snapshot })
  const after = await reader.getBlockNumber()
  const logs = await reader.getLogs({ address: book, fromBlock: 0n })
  console.log(JSON.stringify({
    symbol, best: best.map(String), events: events.map((e) => e.eventName),
    traded: [match.args.executionPrice, match.args.executedQuantity, rest[1]].map(String),
    refused, reverted: before === after, logs: logs.length,
  }))
}

main().catch((error) => { console.error(error); process.exit(1) })
